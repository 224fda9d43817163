"""y = x Wᵀ + b: torch's layer, with the product that `ops` chooses."""

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
        """Compute x Wᵀ + b."""
        return ops.linear(x, self.weight, self.bias)
