"""A linear layer in whole numbers from −127 to 127: to be read, and to be run.

Their product has no error of its own; what is lost is lost by rounding (LLM.int8, Dettmers et al.
2022, arXiv:2208.07339, without its outliers).
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

ROWS = 512
"""of a matrix at a time, which a processor's cache holds from pass to pass"""


def to_int8(
    x: Float[Tensor, "*batch columns"],
) -> tuple[Int8[Tensor, "*batch columns"], Float[Tensor, "*batch 1"]]:
    """round(x / s) and s = max |x| / 127, of each row."""
    step = x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny) / 127
    return torch.round(x / step).to(torch.int8), step


def plain_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Int8[Tensor, "rows columns"],
    scale: Float[Tensor, " rows"],
    bias: Float[Tensor, " rows"] | None,
) -> Float[Tensor, "*batch rows"]:
    """s · (round(x / s) Wᵀ) · scale + bias, with s = max |x| / 127 of each token."""
    whole, step = to_int8(x)
    product = whole.double() @ weight.double().T
    y = product.to(x.dtype) * step * scale
    return y if bias is None else y + bias


def fused_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Int8[Tensor, "rows columns"],
    scale: Float[Tensor, " rows"],
    bias: Float[Tensor, " rows"] | None,
) -> Float[Tensor, "*batch rows"]:
    """s · (round(x / s) Wᵀ) · scale + bias, with s = max |x| / 127 of each token."""
    if x.is_cuda or x.shape[-1] == 1:  # of single columns torch's product is wrong
        return plain_linear(x, weight, scale, bias)
    flat = x.reshape(-1, x.shape[-1])
    y = x.new_empty(len(flat), len(weight))
    for part, out in zip(torch.split(flat, ROWS), torch.split(y, ROWS), strict=True):
        whole, step = to_int8(part)
        out.copy_(torch._int_mm(whole, weight.T)).mul_(step)
        if bias is None:
            out.mul_(scale)
        else:
            torch.addcmul(bias, out, scale, out=out)
    return y.view(*x.shape[:-1], len(weight))
