"""y = x Wᵀ + b: torch's layer, with the product that `ops` chooses."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops


class Linear(nn.Linear):
    """x Wᵀ + b, of vectors of whatever shape."""

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Shape: as it came, but for the last axis."""
        return ops.linear(x, self.weight, self.bias)


def replace_in_blocks(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `make` gives of each linear layer of a model's blocks in its place."""
    for name, module in list(model.named_modules()):
        around, _, layer = name.rpartition(".")
        if isinstance(module, nn.Linear) and ".blocks." in f".{name}":
            setattr(model.get_submodule(around), layer, make(module))
