"""Remove the least important parts of a model, in place.

    units    of the feed-forward layers, the same number in each:   intermediate_size falls
    heads    of attention, the same number in each layer:           attention_size falls
    layers   whole ones:                                            num_hidden_layers falls
    zeros    the smallest weights of all matrices of the blocks, by one threshold (Han et al. 2015,
             arXiv:1506.02626): same size and speed; training with `keep_zeros` leaves them at 0

What is left is an ordinary, smaller model. One with fewer heads is saved in Plainformer's own
layout: `transformers` has no models whose heads together are smaller than their vectors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.importance import blocks_of


def most_important(scores: Float[Tensor, " parts"], count: int) -> Int[Tensor, " kept"]:
    """Return the numbers of the `count` parts of the highest score, in rising order."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def refuse_heads(model: PretrainedModel) -> None:
    """Raise `UserError` where each head has a bias of its own, which all layers share."""
    if model.config.positions == "alibi" or model.config.relative_bias:
        raise UserError("each head of this model has its own bias by distance: none can be removed")


@torch.no_grad()
def prune_heads(
    model: PretrainedModel, scores: Float[Tensor, "layers heads"], share: float
) -> None:
    """Remove this share of the attention heads of each layer; raise as `refuse_heads`."""
    refuse_heads(model)
    number, size = scores.shape[1], model.config.head_size
    count = max(1, number - round(share * number))
    for block, score in zip(blocks_of(model), scores, strict=True):
        keep_heads(block.attention, most_important(score, count), size)
    set_config(model, num_attention_heads=count, attention_size=count * size)


def keep_heads(layer: MultiHeadAttention, kept: Int[Tensor, " kept"], size: int) -> None:
    """Reduce an attention layer to the heads `kept`, each of this `size`."""
    own = (kept[:, None] * size + torch.arange(size, device=kept.device)).flatten()
    rows = torch.cat([own + part * layer.num_heads * size for part in range(3)])  # of Q, K and V
    keep_rows(layer.qkv, rows)
    keep_columns(layer.output, own)
    layer.num_heads = len(kept)


def keep_rows(layer: Linear, rows: Int[Tensor, " kept"]) -> None:
    """Reduce a linear layer to some of its outputs."""
    layer.weight, layer.out_features = nn.Parameter(layer.weight[rows]), len(rows)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[rows])


def keep_columns(layer: Linear, columns: Int[Tensor, " kept"]) -> None:
    """Reduce a linear layer to some of its inputs."""
    layer.weight, layer.in_features = nn.Parameter(layer.weight[:, columns]), len(columns)


@torch.no_grad()
def prune_units(
    model: PretrainedModel, scores: Float[Tensor, "layers units"], share: float
) -> None:
    """Remove this share of the feed-forward units of each layer, those of the lowest score."""
    size = scores.shape[1]
    count = max(1, size - round(share * size))
    for block, score in zip(blocks_of(model), scores, strict=True):
        keep_units(block.feed_forward, most_important(score, count))
    set_config(model, intermediate_size=count)


def keep_units(layer: FeedForward | GatedFeedForward, kept: Int[Tensor, " kept"]) -> None:
    """Reduce a feed-forward layer to the units `kept`."""
    size = layer.down.in_features
    keep_rows(layer.up, torch.cat([kept + n for n in range(0, layer.up.out_features, size)]))
    keep_columns(layer.down, kept)


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
