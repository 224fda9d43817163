"""act(x Wᵀ + b) with W stored the way oneDNN reads it: to be read, and to be run.

A product begins by copying the weights into the order in which the processor takes them. Who only
runs a model can do so once. The activation is applied while the numbers are still at hand.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.ops import plain
from plainformer.encoder.ops.onednn import IS_THERE

ACTIVATIONS: dict[str | None, tuple[Callable[[Tensor], Tensor], tuple[str, str]]] = {
    None: (lambda x: x, ("none", "")),
    "gelu": (plain.gelu, ("gelu", "none")),
    "gelu_tanh": (plain.gelu_tanh, ("gelu", "tanh")),
    "relu": (torch.relu, ("relu", "")),
    "tanh": (torch.tanh, ("tanh", "")),
}
"""as a formula, and in oneDNN's words"""


def can_prepack(weight: Tensor) -> bool:
    """Whether there is a kernel for it: full precision, on a CPU with AVX-512."""
    return IS_THERE and weight.device.type == "cpu" and weight.dtype == torch.float32


def prepack(weight: Float[Tensor, "rows columns"]) -> Tensor:
    """The same numbers in oneDNN's order; `to_dense` gives them back."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    return packed


def plain_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Tensor,
    bias: Float[Tensor, " rows"] | None,
    act: str | None = None,
) -> Float[Tensor, "*batch rows"]:
    """act(x Wᵀ + b)."""
    formula, _ = ACTIVATIONS[act]
    return formula(plain.linear(x, weight.to_dense(), bias))


def fused_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Tensor,
    bias: Float[Tensor, " rows"] | None,
    act: str | None = None,
) -> Float[Tensor, "*batch rows"]:
    """act(x Wᵀ + b)."""
    _, (name, kind) = ACTIVATIONS[act]
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], kind)
    return y
