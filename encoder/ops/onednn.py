"""A linear layer on oneDNN, which torch has beside MKL for products in full precision on a CPU.

torch takes MKL; oneDNN needs 0.7 to 0.9 of its time for the shapes of encoders (`python
benchmarks/products.py`).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

HAS_ONEDNN = "AVX512" in torch.backends.cpu.get_cpu_capability() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
"""Without AVX-512 the two are equally fast; other makes than x86 have oneDNN, or better, anyway."""
MIN_TRAINING_FLOPS = 5 * 10**8
"""Operations of a product in training. oneDNN makes a kernel for each size, in half a millisecond,
and batches of training hardly ever have the size of one before; texts that are read one by one do.
"""


def linear(
    x: Float[Tensor, "*batch columns"],
    weight: Float[Tensor, "rows columns"],
    bias: Float[Tensor, " rows"] | None = None,
) -> Float[Tensor, "*batch rows"]:
    """x Wᵀ + b."""
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


def _across(a: Tensor, b: Tensor) -> Tensor:
    """aᵀ b, by the one of its two forms that MKL is faster with: (bᵀ a)ᵀ where b is the wider."""
    return (b.T @ a).T if b.shape[1] > a.shape[1] else a.T @ b


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """gradient W, gradientᵀ x, Σ gradient: each where it is asked."""
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            _product(gradient, weight.T, None) if for_x else None,
            _across(rows, x.flatten(0, -2)) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )
