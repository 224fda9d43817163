"""Quantise the blocks of a model to 8-bit integers for inference: a quarter of the bytes, for CPUs.

    W ≈ scale · W_q,   scale = max |W| / 127 of each row

The input of a layer is quantised as it comes, token by token: see `encoder.ops.int8`. Embeddings,
norms, attention and heads stay as they are. The model cannot be trained afterwards.
"""

from typing import TypeVar

from jaxtyping import Float, Int8
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.merge import replace_linear
from plainformer.encoder.ops.int8 import to_int8
from plainformer.encoder.pretrained import PretrainedModel

Model = TypeVar("Model", bound=PretrainedModel)


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


def quantize_int8(model: Model) -> Model:
    """Quantise the linear layers in the blocks of `model`, in place; return it.

    Parameters that were added to a layer are merged into its weights. Raises `UserError` for a
    layer that cannot be merged.
    """
    replace_linear(model.base.blocks, Int8Linear)
    return model.requires_grad_(False).eval()
