"""The linear layer that multiplies bytes in ranges known beforehand: see `ops.int8_static`.

    x ≈ centre + step · (x_q − zero),   W · step ≈ scale · W_q
    W x + b ≈ scale · W_q x_q + offset,   offset = b + W centre − scale · W_q zero

The step of each column divides the values of the inputs and multiplies the weights, so it makes
either easier to round (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438); the centre of each column
does the same for inputs far from 0 (Outlier Suppression+, Wei et al. 2023, arXiv:2304.09145).
"""

from typing import Any

from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import Activation
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.ops.int8 import to_int8
from plainformer.encoder.ops.int8_static import Grid, pack

Columns = Float[Tensor, " columns"]


class StaticLinear(nn.Module):
    """A linear layer of bytes, for inference, with the activation after it where `act` names one.

    `step`, `centre` and `zero` say which values of the input the bytes stand for. `out` is the grid
    of the next product, if that takes the output of this one as it is.
    """

    weight: Int8[Tensor, "rows columns"]
    scale: Float[Tensor, " rows"]
    bias: Float[Tensor, " rows"] | None
    input_scale: Columns
    input_zero: Columns
    correction: Float[Tensor, " rows"]
    offset: Float[Tensor, " rows"]
    factor: Columns
    shift: Columns

    def __init__(
        self,
        weight: Float[Tensor, "rows columns"],
        bias: Float[Tensor, " rows"] | None,
        step: Columns,
        centre: Columns,
        zero: float,
    ) -> None:
        super().__init__()
        weight = weight.detach()
        rounded, scale = to_int8(weight * step)
        correction = weight @ centre - scale.squeeze(-1) * rounded.float().sum(-1) * zero
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale.squeeze(-1))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.register_buffer("input_scale", step)
        self.register_buffer("input_zero", zero - centre / step)
        self.register_buffer("correction", correction)
        self.act: Activation | None = None
        self.out: Grid | None = None
        self.settle()

    def settle(self) -> None:
        """Compute from the saved numbers what `forward` reads."""
        offset = self.correction if self.bias is None else self.bias + self.correction
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("factor", 1 / self.input_scale, persistent=False)
        self.register_buffer("shift", self.input_zero + 0.5, persistent=False)
        self.packed: Tensor | None = None

    def forward(
        self, x: Float[Tensor, "*batch columns"] | UInt8[Tensor, "*batch columns"]
    ) -> Float[Tensor, "*batch rows"] | UInt8[Tensor, "*batch rows"]:
        """Compute act(x Wᵀ + b)."""
        if self.packed is None:
            self.packed = pack(self.weight)
        if x.is_floating_point():
            x = ops.quantise(x, self.factor, self.shift)
        return ops.static_linear(
            x, self.weight, self.packed, self.scale, self.offset, self.act, self.out
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the packed weight, which cannot be copied and is packed again."""
        return {**self.__dict__, "packed": None}


def join_feed_forward(blocks: nn.Module, act: Activation) -> None:
    """Let the first product of each feed-forward layer give the bytes that the second takes."""
    for layer in blocks.modules():
        if isinstance(layer, FeedForward) and isinstance(layer.down, StaticLinear):
            grid = float(layer.down.input_scale[0]), round(float(layer.down.input_zero[0]))
            layer.up.act, layer.up.out, layer.act = act, grid, nn.Identity()
