"""Serve several adapters on one base: its weights are in memory once, their texts share batches.

    labels = load_adapters({"labels": Path("runs/labels"), "topics": Path("runs/topics")})

The parameters of the base are those of the first adapter; what each one added stays apart, and is
not merged. In a batch the frozen layers compute the texts of all adapters together, and a changed
layer those of its own (see `finetune.tuning.several`). Adapters that change attention or the input
(prefixes, prompts, bottlenecks), and heads that are not in `MIXED`, share the base, but no batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from plainformer.base import AUTO, Inference, find_folder
from plainformer.deploy.server.served import Served
from plainformer.encoder import (
    HeadedModel,
    QuestionAnswerer,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    check_finite,
    use_huge_pages,
)
from plainformer.encoder.prepack import prepack_together
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter, is_adapter
from plainformer.encoder.weights.added import HasAddedParameters
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch, Item
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.placement import Placement
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tuning.layers import TunedLinear
from plainformer.finetune.tuning.several import mixed, share_base

MIXED = (SequenceClassifier, TokenClassifier, QuestionAnswerer)
"""The heads that are computed from a mixed batch."""


@dataclass(frozen=True)
class ItemOf:
    """An item with the adapter that computes it."""

    served: Served
    item: Item

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens."""
        return self.item.num_tokens


class Computed(PretrainedModel):
    """A model whose outputs are known."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, *_: Any) -> Any:
        """Return the outputs."""
        return self.outputs


def groups_of(folders: Mapping[str, Path]) -> list[dict[str, Path]]:
    """Group the folders that are adapters of one base; each other folder is alone."""
    groups: dict[Path, dict[str, Path]] = {}
    for name, folder in folders.items():
        groups.setdefault(base_of(folder) or folder, {})[name] = folder
    return list(groups.values())


def base_of(folder: Path) -> Path | None:
    """Return the base of an adapter for a task; None for a model of any other kind."""
    found = find_folder(folder)
    if not is_adapter(found) or isinstance(task_of(found), SentenceEmbedding):
        return None
    return Adapter.of(found).base.resolve()


def load_adapters(folders: Mapping[str, Path], inference: Inference = AUTO) -> dict[str, Served]:
    """Load adapters of one base; raise `UserError` for a folder that is none."""
    placement = Placement.of(inference)
    loaded: dict[str, Served] = {}
    first: HeadedModel | None = None
    for name, folder in folders.items():
        one = Finetuned.load(folder)
        model = cast(HeadedModel, placement.move(one.model))
        if first is None:
            first = model
        else:
            share_base(model, first, f"{name} has another base")
        loaded[name] = Served.of_task(folder, Predictor(one.task, model, one.tokenizer))
    prepack_together([served.model for served in loaded.values()])
    for served in loaded.values():
        use_huge_pages(served.model)
    return loaded


@torch.no_grad()
def compute_items(items: Sequence[ItemOf]) -> list[Any]:
    """Compute a batch of the texts of several adapters; return the result of each, in order."""
    own: dict[Served, list[int]] = {}
    for index, one in enumerate(items):
        own.setdefault(one.served, []).append(index)
    parts = {served: [items[index].item for index in some] for served, some in own.items()}
    small = sum(item.num_tokens for item in items) <= BATCH_TOKENS
    together = [served for served in own if small and is_mixable(served.model)]
    found = compute_mixed({served: parts[served] for served in together})
    results: list[Any] = [None] * len(items)
    for served, some in own.items():
        answers = found[served] if served in found else served.compute(parts[served])
        for index, answer in zip(some, answers, strict=True):
            results[index] = answer
    return results


def is_mixable(model: PretrainedModel) -> bool:
    """Tell whether a model can be a part of a mixed batch."""
    added = [m for m in model.base.modules() if isinstance(m, HasAddedParameters)]
    return type(model) in MIXED and all(isinstance(module, TunedLinear) for module in added)


def compute_mixed(parts: Mapping[Served, Sequence[Item]]) -> dict[Served, list[Any]]:
    """Compute the items of several adapters in one pass of the encoder; of one, nothing."""
    if len(parts) < 2:
        return {}
    models = {str(number): served.model for number, served in enumerate(parts)}
    batches = [Batch.of(items).to(served.model.device) for served, items in parts.items()]
    lengths = [batch.sequences.lengths for batch in batches]
    names = [name for name, some in zip(models, lengths, strict=True) for _ in some]
    outputs = mixed(
        cast(dict[str, HeadedModel], models),
        names,
        torch.cat([batch.input_ids for batch in batches]),
        token_type_ids=torch.cat([batch.token_type_ids for batch in batches]),
        sequences=Sequences.of([n for some in lengths for n in some], batches[0].input_ids.device),
    )
    found = {}
    for served, batch, given in zip(parts, batches, outputs.values(), strict=True):
        assert served.predictor is not None
        task = served.predictor.task
        known = task.outputs(Computed(given), batch)
        check_finite(known)
        found[served] = list(task.predict(known, batch))
    return found
