"""Remove the least important parts of a model, in place.

    units    of the feed-forward layers, the same number in each:   intermediate_size falls
    layers   whole ones:                                            num_hidden_layers falls
    zeros    the smallest weights of all matrices of the blocks, by one threshold (Han et al. 2015,
             arXiv:1506.02626): same size and speed; training with `keep_zeros` leaves them at 0

What the first two leave is an ordinary, smaller model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.deploy.shrink.importance import blocks_of
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel


@torch.no_grad()
def prune_units(
    model: PretrainedModel, scores: Float[Tensor, "layers units"], share: float
) -> None:
    """Remove this share of the feed-forward units of each layer, those of the lowest score."""
    size = scores.shape[1]
    count = max(1, size - round(share * size))
    for block, score in zip(blocks_of(model), scores, strict=True):
        order = score.sort(descending=True, stable=True).indices
        keep_units(block.feed_forward, order[:count].sort().values)
    set_config(model, intermediate_size=count)


def keep_units(layer: FeedForward | GatedFeedForward, kept: Tensor) -> None:
    """Reduce a feed-forward layer to the units `kept`."""
    up, down, size = layer.up, layer.down, layer.down.in_features
    rows = torch.cat([kept + start for start in range(0, up.out_features, size)])
    up.weight, up.out_features = nn.Parameter(up.weight[rows]), len(rows)
    if up.bias is not None:
        up.bias = nn.Parameter(up.bias[rows])
    down.weight, down.in_features = nn.Parameter(down.weight[:, kept]), len(kept)


def prune_layers(model: PretrainedModel, scores: Float[Tensor, " layers"], count: int) -> list[int]:
    """Keep `count` layers, those of the largest total score in their order; return their numbers.

    The first layer of a pre-norm model has no norm, so it stays; local and global layers keep their
    turns. Raises `UserError` where layers share their weights, or too few are of a kind.
    """
    config = model.config
    if config.share_layers:
        raise UserError("all layers of this model are the same one: there is none to remove")
    if not 1 <= count <= config.num_hidden_layers:
        raise UserError(f"the model has {config.num_hidden_layers} layers: {count} cannot be kept")

    def fits(place: int, layer: int) -> bool:
        is_first = config.norm_order == "post" or place > 0 or layer == 0
        return is_first and config.is_local(place) == config.is_local(layer)

    kept = best_in_order(scores.tolist(), count, fits)
    model.base.blocks = nn.ModuleList(model.base.blocks[layer] for layer in kept)
    set_config(model, num_hidden_layers=count)
    return kept


def best_in_order(
    scores: Sequence[float], count: int, fits: Callable[[int, int], bool]
) -> list[int]:
    """Choose `count` numbers in order, each fitting its place, with the largest sum of scores."""
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}  # by the places filled
    for number, score in enumerate(scores):
        for place in sorted(best, reverse=True):
            total, chosen = best[place][0] + score, (*best[place][1], number)
            former = best.get(place + 1, (-math.inf, ()))[0]
            if place < count and fits(place, number) and total > former:
                best[place + 1] = total, chosen
    return list(best[count][1])


def set_config(model: PretrainedModel, **changes: Any) -> None:
    """Change fields of the config, which a model shares with the encoder in it."""
    config = replace(model.config, **changes)
    for module in model.modules():
        if isinstance(module, PretrainedModel):
            module.config = config


def matrices(model: PretrainedModel) -> list[Tensor]:
    """Return the matrices of the blocks."""
    return [m.weight for m in model.base.blocks.modules() if isinstance(m, Linear)]


@torch.no_grad()
def prune_weights(model: PretrainedModel, share: float) -> None:
    """Set this share of the weights of the blocks to 0, those of the smallest magnitude."""
    sizes = torch.cat([weight.abs().flatten() for weight in matrices(model)])
    count = round(share * len(sizes))
    if count:
        threshold = sizes.kthvalue(count).values
        for weight in matrices(model):
            weight[weight.abs() <= threshold] = 0.0


def keep_zeros(model: PretrainedModel) -> Callable[[PretrainedModel, int], None]:
    """Return a function, to be called before each step, which keeps weights that are 0 at 0.

    Their gradient becomes 0, with which neither AdamW nor SGD moves them.
    """
    masks = [weight != 0 for weight in matrices(model)]

    def mask_gradients(model: PretrainedModel, step: int) -> None:
        for weight, mask in zip(matrices(model), masks, strict=True):
            if weight.grad is not None:
                weight.grad *= mask.to(weight.grad.device)

    return mask_gradients
