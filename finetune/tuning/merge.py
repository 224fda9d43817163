"""Merge added parameters into the weights of their layers: the model computes the same, as fast as
one without them.

    unmerge = merge_added(model)
    …
    unmerge()  # the very layers that were there before
"""

from collections.abc import Callable

import torch
from torch import nn

from plainformer.base import UserError
from plainformer.encoder.linear import Linear
from plainformer.encoder.merge import Mergeable
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.added import HasAddedParameters


@torch.no_grad()
def merge_added(model: PretrainedModel) -> Callable[[], None]:
    """Replace each layer with added parameters by one with the merged weights.

    Returns a function that puts the layers back. Raises `UserError`, before any is replaced, for
    one whose parameters cannot be merged.
    """
    layers: dict[str, Linear] = {}
    for name, module in model.named_modules():
        if isinstance(module, HasAddedParameters):
            if not (isinstance(module, Linear) and isinstance(module, Mergeable)):
                kind = type(module).__name__
                raise UserError(f"{name}: a {kind} cannot be merged into the weights of the model")
            layers[name] = module
    for name, layer in layers.items():
        put(model, name, merged_layer(layer))

    def unmerge() -> None:
        for name, layer in layers.items():
            put(model, name, layer)

    return unmerge


def merged_layer(layer: Linear) -> Linear:
    """Build the plain layer with the merged weights of `layer`."""
    assert isinstance(layer, Mergeable)
    weight, bias = layer.merged()
    merged = Linear(layer.in_features, layer.out_features, bias is not None, layer.fused_parts)
    merged.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        merged.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return merged.train(layer.training)


def put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place `name` of `model`."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
