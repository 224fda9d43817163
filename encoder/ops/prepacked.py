"""act(x Wᵀ + b) with W in oneDNN's memory layout, in a plain and a fused form.

oneDNN's product starts by copying the weights into its own layout; for inference this is done once.
The activation is applied while the output is still in the cache.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.ops import plain
from plainformer.encoder.ops.onednn import HAS_ONEDNN
from plainformer.encoder.ops.shared_kernels import share_kernel

ACTIVATIONS: dict[str | None, tuple[Callable[[Tensor], Tensor], tuple[str, str]]] = {
    None: (lambda x: x, ("none", "")),
    "gelu": (plain.gelu, ("gelu", "none")),
    "gelu_tanh": (plain.gelu_tanh, ("gelu", "tanh")),
    "relu": (torch.relu, ("relu", "")),
    "tanh": (torch.tanh, ("tanh", "")),
}
"""Our name of an activation -> its formula, and oneDNN's name and variant."""


def can_prepack(weight: Tensor) -> bool:
    """Return whether a kernel is worth it: float32, on a CPU with AVX-512."""
    return HAS_ONEDNN and weight.device.type == "cpu" and weight.dtype == torch.float32


def prepack(weight: Float[Tensor, "rows columns"]) -> Tensor:
    """Copy a weight into oneDNN's layout; `to_dense` is the inverse."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    return packed


def plain_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Tensor,
    bias: Float[Tensor, " rows"] | None,
    act: str | None = None,
) -> Float[Tensor, "*batch rows"]:
    """Compute act(x Wᵀ + b) from the dense weight."""
    formula, _ = ACTIVATIONS[act]
    return formula(plain.linear(x, weight.to_dense(), bias))


def fused_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Tensor,
    bias: Float[Tensor, " rows"] | None,
    act: str | None = None,
) -> Float[Tensor, "*batch rows"]:
    """Compute act(x Wᵀ + b) in one call of oneDNN, which knows no gradient."""
    if x.requires_grad and torch.is_grad_enabled():
        return plain_linear(x, weight, bias, act)
    _, (name, kind) = ACTIVATIONS[act]
    rows = share_kernel(x) if x.dim() == 2 else x
    y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, name, [], kind)
    return y if rows is x else y[: len(x)]
