"""y = x Wᵀ + b: torch's layer, with the product that `ops` chooses."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops


class Linear(nn.Linear):
    """The linear layer x Wᵀ + b.

    `fused_parts` names layers that are computed in one product: each is an equal part of the rows.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        fused_parts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.fused_parts = fused_parts

    def rows_of(self, part: str) -> slice:
        """Return the rows of the weight and of the bias that are one of the fused parts."""
        size = self.out_features // len(self.fused_parts)
        start = size * self.fused_parts.index(part)
        return slice(start, start + size)

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Shape: as it came, but for the last axis."""
        return ops.linear(x, self.weight, self.bias)


def replace_in_blocks(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `make` gives of each linear layer of a model's blocks in its place."""
    for name, module in list(model.named_modules()):
        around, _, layer = name.rpartition(".")
        if isinstance(module, nn.Linear) and ".blocks." in f".{name}":
            setattr(model.get_submodule(around), layer, make(module))
