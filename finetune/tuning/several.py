"""Keep several adapters on one base model: switched by name, mixed in one batch, averaged.

    models = load_adapters(SequenceClassifier, {"reviews": "runs/reviews", "news": "runs/news"})
    models["news"](**batch)                                       # one of them
    mixed(models, ["news", "reviews", "news"], **batch)["news"]   # of each text its own
    average(models, {"reviews": 0.5, "news": 0.5})                # W + Σ share · (what each adds)

All share the parameters of the base. In a mixed batch a frozen layer computes all tokens, and each
layer that an adapter changed the tokens of its texts: what it gives for a token depends on that
token alone, so the outputs are those of the texts one by one.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import HeadedModel
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.model import EncoderOutput
from plainformer.encoder.ops import use_backend
from plainformer.encoder.packing import Sequences
from plainformer.encoder.weights.added import HasAddedParameters
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.finetune.tuning.layers import TunedLinear
from plainformer.finetune.tuning.merge import merge_added, put

Model = TypeVar("Model", bound=HeadedModel)


class Routed(nn.Module):
    """Linear layers of several adapters in one place; each computes the tokens of its texts."""

    def __init__(self, layers: Sequence[nn.Module], tokens: Sequence[Tensor]) -> None:
        super().__init__()
        self.layers, self.tokens = nn.ModuleList(layers), tokens

    def forward(self, x: Float[Tensor, "tokens columns"]) -> Float[Tensor, "tokens rows"]:
        """Compute the rows of each layer, and put them into the order of the batch."""
        parts = [layer(x[own]) for layer, own in zip(self.layers, self.tokens, strict=True)]
        order = torch.cat(list(self.tokens)).argsort()
        return torch.cat(parts)[order]


def load_adapters(kind: type[Model], folders: Mapping[str, str | Path]) -> dict[str, Model]:
    """Load the model of each adapter, by name, on one copy of their base.

    Raises `UserError` for adapters of different base models.
    """
    models: dict[str, Model] = {}
    for name, folder in folders.items():
        model = kind.from_pretrained(folder, add=add_tensors)
        for other, first in list(models.items())[:1]:
            share_base(model, first, f"the adapters {other!r} and {name!r} have different bases")
        models[name] = model
    return models


def share_base(model: HeadedModel, first: HeadedModel, message: str) -> None:
    """Replace the parameters of the base in `model` by those of `first`, which must be equal."""
    theirs = dict(first.base.named_parameters())
    new = {name.removeprefix("encoder.") for name in model.newly_initialised}
    for path, module in model.base.named_modules():
        for leaf, parameter in list(module.named_parameters(recurse=False)):
            name = f"{path}.{leaf}"
            if name not in theirs or name in new or parameter.requires_grad:
                continue
            if not torch.equal(parameter, theirs[name]):
                raise UserError(f"{message}: {name} differs")
            setattr(module, leaf, theirs[name])
    if model.config != first.config:
        raise UserError(f"{message}: their configs differ")


def mixed(
    models: Mapping[str, HeadedModel],
    names: Sequence[str],
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    sequences: Sequences | None = None,
) -> dict[str, Any]:
    """Compute a batch in which each text has the adapter of its name, in one pass of the encoder.

    The inputs are those of a model: padded, or packed. Returns, by name, the outputs for its texts
    in their order; those of tokens are packed. Raises `UserError` for a name without an adapter,
    and where there is not one name for each text.
    """
    if sequences is None:  # in the order of the texts
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        sequences = Sequences.of(real.sum(1).tolist(), input_ids.device)
        input_ids = input_ids[real.bool()]
        token_type_ids = None if token_type_ids is None else token_type_ids[real.bool()]
    if unknown := [name for name in names if name not in models]:
        raise UserError(f"there is no adapter {unknown[0]!r}: choose {', '.join(models)}")
    lengths = sequences.lengths
    if len(names) != len(lengths):
        raise UserError(f"there are {len(lengths)} texts, and {len(names)} names of adapters")
    used = list(dict.fromkeys(names))
    numbers = torch.tensor([used.index(name) for name in names], device=input_ids.device)
    owner = numbers[sequences.sequence_ids]  # (tokens,)
    tokens = [(owner == number).nonzero().squeeze(-1) for number in range(len(used))]
    encoder = routed([models[name] for name in used], tokens)
    with use_backend(encoder.backend, override=False):
        x = encoder.embed(input_ids, token_type_ids, sequences)
        x = encoder.run_blocks(x, sequences).last_hidden_state
        found = {}
        for name, own in zip(used, tokens, strict=True):
            model = models[name]
            few = [length for length, of in zip(lengths, names, strict=True) if of == name]
            part = Sequences.of(few, x.device)
            pooler = model.base.pooler
            encoded = EncoderOutput(x[own], None if pooler is None else pooler(part.first(x[own])))
            found[name] = model.apply_head(encoded, PackedInputs(None, None, None, part, None))
    return found


def routed(models: Sequence[HeadedModel], tokens: Sequence[Tensor]) -> Any:
    """Build the encoder whose changed layers are those of all `models`, each for its tokens."""
    first = models[0].base
    named = [pair for model in models for pair in model.base.named_modules()]
    for path, module in named:
        if isinstance(module, HasAddedParameters) and not isinstance(module, TunedLinear):
            raise UserError(f"{path}: a {type(module).__name__} cannot be mixed in a batch")
    changed = {path for path, module in named if isinstance(module, TunedLinear)}
    # What holds a changed layer is copied, and all else is that of the first.
    holders = {path.rsplit(".", n)[0] for path in changed for n in range(1, path.count(".") + 1)}
    kept: dict[int, Any] = {id(t): t for t in (*first.parameters(), *first.buffers())}
    kept |= {id(m): m for path, m in first.named_modules() if path not in {"", *holders}}
    encoder = copy.deepcopy(first, kept)
    encoder.pooler = None
    for path in changed:
        layers = [model.base.get_submodule(path) for model in models]
        put(encoder, path, Routed(layers, tokens))
    return encoder


@torch.no_grad()
def average(models: Mapping[str, Model], shares: Mapping[str, float]) -> Model:
    """Return a whole model with the mean of the merged weights, and of the heads.

    Raises `UserError` unless the shares add up to 1 and the heads are of the same outputs.
    """
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"shares must add up to 1, not {sum(shares.values()):g}")
    if unknown := [name for name in shares if name not in models]:
        raise UserError(f"there is no adapter {unknown[0]!r}: choose {', '.join(models)}")
    wholes = {name: copy.deepcopy(models[name]) for name in shares}
    for whole in wholes.values():
        merge_added(whole)
    states = {name: whole.state_dict() for name, whole in wholes.items()}
    (first, result), *others = wholes.items()
    for name, other in others:
        alike = getattr(other, "labels", None) == getattr(result, "labels", None)
        if not alike or any(t.shape != states[name][key].shape for key, t in states[first].items()):
            raise UserError(f"the adapters {first!r} and {name!r} have heads of different outputs")
    means = {
        key: torch.stack([share * states[name][key] for name, share in shares.items()]).sum(0)
        for key in states[first]
    }
    result.load_state_dict(means)
    return result.requires_grad_(True)
