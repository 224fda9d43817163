"""Compute a linear layer in float32 on a CPU with oneDNN instead of MKL, which torch calls.

oneDNN needs 0.7 to 0.9 of MKL's time for the shapes of encoders (`python benchmarks/products.py`).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from plainformer.encoder.ops.first_derivative import first_derivative_only

HAS_ONEDNN = "AVX512" in torch.backends.cpu.get_cpu_capability() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
"""The presence of a oneDNN that is faster than what torch calls: on x86 with AVX-512."""
MIN_TRAINING_FLOPS = 5 * 10**8
"""The least operations of a product that oneDNN computes in training: it compiles a kernel for each
new size, in half a millisecond, and the sizes of training batches rarely repeat."""


def linear(
    x: Float[Tensor, "*batch columns"],
    weight: Float[Tensor, "rows columns"],
    bias: Float[Tensor, " rows"] | None = None,
) -> Float[Tensor, "*batch rows"]:
    """Compute x Wᵀ + b."""
    if not _is_served(x, weight):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _product(x, weight, bias)
    if 2 * x.numel() * len(weight) < MIN_TRAINING_FLOPS:
        return F.linear(x, weight, bias)
    apply: Callable[..., Tensor] = _Linear.apply
    return apply(x, weight, bias)


def _is_served(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and HAS_ONEDNN
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def _transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Compute aᵀ b, as (bᵀ a)ᵀ if b has more columns, which is faster with MKL."""
    return (b.T @ a).T if b.shape[1] > a.shape[1] else a.T @ b


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Compute gradient · W, gradientᵀ · x and Σ gradient, each only if it is needed."""
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)  # (tokens, rows of the weight)
        return (
            _product(gradient, weight.T, None) if needs_x else None,
            _transposed_product(rows, x.flatten(0, -2)) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )
