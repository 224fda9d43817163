"""Put the heads of several tasks on one encoder (MT-DNN: Liu et al. 2019, arXiv:1901.11504).

x = encoder(text)        y = head(x), one head for each task

model = SeveralHeads({"topics": classifier, "names": tagger})
loss = task_objective(task)(model.tasks["names"], batch)     # each is a model of its own
outputs = model(**tokenizer.batch(texts))["names"]           # all heads, one pass of the encoder
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from plainformer.base import UserError
from plainformer.encoder.heads import HeadedModel
from plainformer.encoder.inputs import Ids, Mask, pack_inputs
from plainformer.encoder.model import Encoder
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.multitask.folder import save_heads


class SeveralHeads(PretrainedModel):
    """The models of several tasks, whose encoder is the same module.

    The encoder of the first model becomes that of all, or the first one with a pooler: a head that
    reads the pooler's output shares it with the others that do. Raises `UserError` for a model
    whose encoder has another config.
    """

    def __init__(self, tasks: Mapping[str, PretrainedModel]) -> None:
        super().__init__()
        self.names = tuple(tasks)
        self.models = nn.ModuleList(tasks.values())
        encoder = max((m.base for m in tasks.values()), key=lambda e: e.pooler is not None)
        self.config = encoder.config
        for name, model in tasks.items():
            if model.config != self.config:
                raise UserError(f"the encoder of {name} has another shape than that of the others")
            head_of(model).encoder = encoder
        new = {
            id(p)
            for m in tasks.values()
            for n, p in m.named_parameters()
            if n in m.newly_initialised
        }
        self.newly_initialised = tuple(n for n, p in self.named_parameters() if id(p) in new)

    @property
    def tasks(self) -> dict[str, PretrainedModel]:
        """Return the model of each task."""
        models = cast(Iterable[PretrainedModel], self.models)
        return dict(zip(self.names, models, strict=True))

    @property
    def base(self) -> Encoder:
        """Return the encoder under all heads."""
        return next(iter(self.tasks.values())).base

    @property
    def blocks(self) -> nn.ModuleList:
        """Return the blocks of the encoder."""
        return self.base.blocks

    def forward(
        self,
        input_ids: Ids,
        attention_mask: Mask | None = None,
        token_type_ids: Ids | None = None,
        sequences: Sequences | PaddedSequences | None = None,
    ) -> dict[str, Any]:
        """Compute the outputs of each head, by the name of its task, in one pass of the encoder."""
        inputs = pack_inputs(input_ids, attention_mask, token_type_ids, sequences)
        encoded = self.base(
            inputs.input_ids, token_type_ids=inputs.token_type_ids, sequences=inputs.sequences
        )
        return {n: head_of(m).apply_head(encoded, inputs) for n, m in self.tasks.items()}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder for each task: see `save_heads`."""
        save_heads(self.tasks, Path(folder))


def head_of(model: PretrainedModel) -> HeadedModel:
    """Return the head in a model: the model itself, or the one that a CRF is added to."""
    return next(module for module in model.modules() if isinstance(module, HeadedModel))
