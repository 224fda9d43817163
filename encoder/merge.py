"""Replace linear layers by ones for inference; weights that a method added are merged first.

A method that adds to the weights of a linear layer (W + B A) subclasses `Linear` with `merged`.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.linear import Linear

Weights = tuple[Float[Tensor, "rows columns"], Float[Tensor, " rows"] | None]


@runtime_checkable
class Mergeable(Protocol):
    """A linear layer with parameters that are added to its weights."""

    def merged(self) -> Weights:
        """Return weight and bias after the addition."""
        ...


@torch.no_grad()
def replace_linear(
    blocks: nn.ModuleList, make: Callable[[Tensor, Tensor | None], nn.Module]
) -> None:
    """Replace each linear layer in `blocks` by make(weight, bias), of its merged weights.

    Raises `UserError`, before any is replaced, for a layer that cannot be merged.
    """
    layers = list(linear_layers(blocks, "blocks"))
    for path, layer, _ in layers:
        if type(layer) not in (Linear, nn.Linear) and not isinstance(layer, Mergeable):
            raise UserError(
                f"{path} is a {type(layer).__name__}, which has no merged(): what it adds to its "
                "weights would be lost; first replace it by a Linear with the merged weights"
            )
    for path, layer, parent in layers:
        weights = layer.merged() if isinstance(layer, Mergeable) else (layer.weight, layer.bias)
        setattr(parent, path.rpartition(".")[2], make(*weights))


def linear_layers(parent: nn.Module, path: str) -> Iterator[tuple[str, nn.Linear, nn.Module]]:
    """Yield the linear layers under `parent`, each with its path and its parent."""
    for name, module in parent.named_children():
        if isinstance(module, nn.Linear):
            yield f"{path}.{name}", module, parent
        else:
            yield from linear_layers(module, f"{path}.{name}")
