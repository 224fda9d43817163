"""y = x Wᵀ + b: torch's layer, with the product that `ops` chooses."""

from jaxtyping import Float
from torch import Tensor, nn

from encoder import ops


class Linear(nn.Linear):
    """x Wᵀ + b, of vectors of whatever shape."""

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Shape: as it came, but for the last axis."""
        return ops.linear(x, self.weight, self.bias)
