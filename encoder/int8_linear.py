"""The linear layer with 8-bit weights: x Wᵀ + b with W ≈ scale · W_q (see `encoder.ops.int8`)."""

from jaxtyping import Float, Int8
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.ops.int8 import to_int8


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, for inference."""

    weight: Int8[Tensor, "rows columns"]
    scale: Float[Tensor, " rows"]
    bias: Float[Tensor, " rows"] | None

    def __init__(
        self, weight: Float[Tensor, "rows columns"], bias: Float[Tensor, " rows"] | None
    ) -> None:
        super().__init__()
        rounded, scale = to_int8(weight.detach())
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.squeeze(-1))
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """Compute x Wᵀ + b."""
        return ops.int8_linear(x, self.weight, self.scale, self.bias)
