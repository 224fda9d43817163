"""A trained model whose blocks multiply whole numbers: a quarter of the bytes, for CPUs.

    W ≈ scale · W_q,   scale = max |W| / 127 of each row

What a layer reads is rounded likewise, token by token, when it comes: see `encoder.ops.int8`.
Embeddings, norms, attention and heads stay as they are. Nothing more is learned afterwards.
"""

from typing import TypeVar

from jaxtyping import Float, Int8
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.linear import replace_in_blocks
from plainformer.encoder.ops.int8 import to_int8

Model = TypeVar("Model", bound=nn.Module)


class Int8Linear(nn.Module):
    """A linear layer, rounded."""

    weight: Int8[Tensor, "rows columns"]
    scale: Float[Tensor, " rows"]
    bias: Float[Tensor, " rows"] | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = to_int8(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(-1))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch rows"]:
        """x Wᵀ + b."""
        return ops.int8_linear(x, self.weight, self.scale, self.bias)


def quantize_int8(model: Model) -> Model:
    """`model` with the linear layers of its blocks rounded where they stand."""
    replace_in_blocks(model, Int8Linear)
    return model.requires_grad_(False).eval()
