"""Learn the hidden states of a teacher, layer by layer (TinyBERT: Jiao et al. 2020).

    distance = 1/M Σₘ mean over tokens and dimensions of (W hₘ − h′ₖ)²,    k = ⌈m N / M⌉

hₘ are the outputs of the M layers of the student, of the last one after a final norm, and h′ₖ those
of the N layers of the teacher (arXiv:1909.10351, eq. 8). W is learned, one matrix for all layers;
where both have the same size there is none. It is a module within the student, `model.projection`,
so that the optimizer trains it and checkpoints hold it; it is removed before the student is saved.

The mean over tokens is one of each text. It counts as often as the text does in the loss of the
task: once, or for each of its words or windows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.linear import Linear
from plainformer.encoder.model import EncoderOutput
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch

NAME = "projection"

States = Sequence[Float[Tensor, "tokens _"]]
"""The output of each layer for the packed tokens of a batch."""


@contextmanager
def hidden_states(model: PretrainedModel | None) -> Iterator[list[Tensor]]:
    """Collect the output of each layer in a list, which is complete after the context.

    A batch that is computed in parts has several outputs of a layer: they are joined. Without a
    model the list stays empty.
    """
    states: list[Tensor] = []
    if model is None:
        yield states
        return
    parts: list[Sequence[Tensor]] = []

    def ask(_: Any, inputs: Any, options: dict[str, Any]) -> Any:
        return inputs, {**options, "output_hidden_states": True}

    def collect(_: Any, __: Any, output: EncoderOutput) -> None:
        assert output.hidden_states is not None
        parts.append(output.hidden_states[1:])

    hooks = [
        model.base.register_forward_pre_hook(ask, with_kwargs=True),
        model.base.register_forward_hook(collect),
    ]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()
    states += [
        torch.cat(layer) if len(layer) > 1 else layer[0] for layer in zip(*parts, strict=True)
    ]


def add_projection(model: PretrainedModel, size: int, seed: int) -> None:
    """Add a projection of the hidden states of `model` to `size`, unless they have that size."""
    own = model.config.hidden_size
    if own != size:
        projection = Linear(own, size, bias=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            projection.weight.normal_(0, own**-0.5, generator=generator)
        model.add_module(NAME, projection.to(next(model.parameters())))


def remove_projection(model: PretrainedModel) -> None:
    """Remove the projection of a model, if it has one."""
    if NAME in dict(model.named_children()):
        delattr(model, NAME)


def hidden_distance(
    model: PretrainedModel, own: States, taught: States, counts: Sequence[int], batch: Batch[Any]
) -> Float[Tensor, ""]:
    """Compute the distance of each item's hidden states, summed with these `counts`."""
    projection = dict(model.named_children()).get(NAME, torch.nn.Identity())
    layers = [-(-(m + 1) * len(taught) // len(own)) - 1 for m in range(len(own))]
    squares = torch.stack(
        [
            (projection(x).float() - taught[layer].float()).square().mean(-1)
            for x, layer in zip(own, layers, strict=True)
        ]
    ).mean(0)  # (tokens,)
    sequences = batch.sequences
    means = sequences.sum(squares[:, None]) / sequences.counts[:, None]  # (sequences, 1)
    weights = batch.on_device(counts)
    return (weights * batch.mean(means).squeeze(-1)).sum()
