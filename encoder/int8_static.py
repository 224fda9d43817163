"""Quantise the blocks of a model to bytes, weights and inputs, in ranges found on typical texts.

Two passes over the texts: the first finds the smallest and the largest input of each column of each
layer. Few inputs of a feed-forward layer's second product are large, and a range without the
largest rounds the others more finely: the second pass tries some ranges, and keeps that with the
smallest relative error, each token counting alike. Embeddings, norms, attention and heads stay as
they are. The model cannot be trained afterwards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.int8_static_linear import StaticLinear, join_feed_forward
from plainformer.encoder.merge import linear_layers, replace_linear
from plainformer.encoder.pretrained import PretrainedModel

Model = TypeVar("Model", bound=PretrainedModel)
Columns = Float[Tensor, " columns"]

MARGIN = 1.1  # the range that is kept free around the smallest and the largest input
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the largest input of a second product


@dataclass
class Range:
    """The smallest and the largest input of each column of a layer."""

    low: Columns
    high: Columns

    def add(self, x: Float[Tensor, "*batch columns"]) -> None:
        """Widen the range to these inputs, if there are any."""
        rows = x.flatten(0, -2)
        if not len(rows):
            return
        self.low, self.high = self.low.minimum(rows.amin(0)), self.high.maximum(rows.amax(0))

    def smoothed(self, weight: Float[Tensor, "rows columns"]) -> tuple[Columns, Columns, float]:
        """Return step, centre and zero: inputs and weights share the spread of each column."""
        centre = (self.low + self.high) / 2
        reach = MARGIN * (self.high - self.low) / 2
        reach = reach.maximum(1e-3 * reach.max()).clamp_min(1e-12)
        sizes = weight.abs().amax(0)
        smooth = (reach / sizes.maximum(1e-3 * sizes.max()).clamp_min(1e-12)).sqrt()
        return smooth * (reach / smooth).max() / 127.5, centre, 127.5

    def in_common(self, share: float = 1.0) -> tuple[Columns, Columns, float]:
        """Return step, centre and zero, equal in all columns, for this share of the largest."""
        low, high = self.low.min().clamp(max=0), share * self.high.max().clamp_min(1e-12)
        step = (high - low) / 255
        return step.expand_as(self.low).clone(), torch.zeros_like(self.low), float(-low / step)


class Trial:
    """The relative errors of ranges that leave out the largest inputs."""

    def __init__(self, found: Range) -> None:
        self.grids = [found.in_common(share) for share in SHARES]
        self.errors = [0.0] * len(SHARES)

    def add(self, x: Float[Tensor, "*batch columns"]) -> None:
        """Add the errors of these inputs."""
        sizes = x.square().sum(-1).clamp_min(1e-12)
        for number, (step, _, zero) in enumerate(self.grids):
            rounded = (torch.round(x / step + round(zero)).clamp(0, 255) - round(zero)) * step
            self.errors[number] += float(((rounded - x).square().sum(-1) / sizes).sum())

    @property
    def best(self) -> tuple[Columns, Columns, float]:
        """Return step, centre and zero of the smallest error."""
        step, centre, zero = self.grids[self.errors.index(min(self.errors))]
        return step, centre, round(zero)


def quantize_static(model: Model, batches: Iterable[Mapping[str, Any]]) -> Model:
    """Quantise the linear layers in the blocks of `model`, in place; return it.

    `batches` are inputs of the encoder on typical texts: a few hundred texts are enough. Parameters
    that were added to a layer are merged into its weights. Raises `UserError` without texts, and
    for a layer that cannot be merged.
    """
    blocks, given = model.base.blocks, list(batches)
    layers = [layer for _, layer, _ in linear_layers(blocks, "blocks")]
    second = [m.down for m in blocks.modules() if isinstance(m, FeedForward)]
    ranges = {layer: Range(*_nothing(layer)) for layer in layers}
    model.eval()
    _watch(model, given, {layer: found.add for layer, found in ranges.items()})
    if any(bool((found.low > found.high).any()) for found in ranges.values()):
        raise UserError("there are no texts to find the ranges of the activations on")
    trials: dict[nn.Linear, Trial] = {x: Trial(ranges[x]) for x in layers if x in second}
    _watch(model, given, {layer: trial.add for layer, trial in trials.items()})
    following = iter(layers)

    def make(weight: Tensor, bias: Tensor | None) -> nn.Module:
        layer = next(following)
        is_second = layer in trials
        grid = trials[layer].best if is_second else ranges[layer].smoothed(weight)
        return StaticLinear(weight, bias, *grid)

    replace_linear(blocks, make)
    join_feed_forward(blocks, model.config.hidden_act)
    return model.requires_grad_(False)


@torch.no_grad()
def _watch(
    model: PretrainedModel,
    batches: Sequence[Mapping[str, Any]],
    looks: Mapping[nn.Linear, Callable[[Tensor], None]],
) -> None:
    """Show each input of these layers on the batches."""

    def show(look: Callable[[Tensor], None], layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        look(args[0])

    hooks = [layer.register_forward_pre_hook(partial(show, look)) for layer, look in looks.items()]
    try:
        for batch in batches:
            model.base(**batch)
    finally:
        for hook in hooks:
            hook.remove()


def _nothing(layer: nn.Linear) -> tuple[Columns, Columns]:
    low = torch.full((layer.in_features,), torch.inf, device=layer.weight.device)
    return low, -low
