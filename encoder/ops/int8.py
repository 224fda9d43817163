"""A linear layer with 8-bit weights, in a plain and a fused form.

    x Wᵀ + b ≈ s · (x_q W_qᵀ) · scale + b,   x_q = round(x / s),   s = max |x| / 127 of each token

The product of integers is exact: the only error is that of rounding x and W (LLM.int8, Dettmers et
al. 2022, arXiv:2208.07339, without its outliers).
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

ROWS_AT_A_TIME = 512  # rows of the product that stay in the cache between its passes


def to_int8(
    x: Float[Tensor, "*batch columns"],
) -> tuple[Int8[Tensor, "*batch columns"], Float[Tensor, "*batch 1"]]:
    """Round each row x to x_q = round(x / s); return x_q and s = max |x| / 127."""
    # The smallest positive number instead of 0: a row of zeros becomes zeros.
    step = x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny) / 127
    return torch.round(x / step).to(torch.int8), step


def plain_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Int8[Tensor, "rows columns"],
    scale: Float[Tensor, " rows"],
    bias: Float[Tensor, " rows"] | None,
) -> Float[Tensor, "*batch rows"]:
    """Compute s · (x_q W_qᵀ) · scale + b; in float64 the product is exact."""
    rounded, step = to_int8(x)
    product = rounded.double() @ weight.double().T
    y = product.to(x.dtype) * step * scale
    return y if bias is None else y + bias


def fused_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Int8[Tensor, "rows columns"],
    scale: Float[Tensor, " rows"],
    bias: Float[Tensor, " rows"] | None,
) -> Float[Tensor, "*batch rows"]:
    """Compute s · (x_q W_qᵀ) · scale + b with torch's product of integers, a few rows at a time."""
    if x.is_cuda or x.shape[-1] == 1:  # torch's product of single columns is wrong
        return plain_linear(x, weight, scale, bias)
    flat = x.reshape(-1, x.shape[-1])  # (tokens, columns)
    y = x.new_empty(len(flat), len(weight))
    chunks = zip(torch.split(flat, ROWS_AT_A_TIME), torch.split(y, ROWS_AT_A_TIME), strict=True)
    for chunk, out in chunks:
        rounded, step = to_int8(chunk)
        out.copy_(torch._int_mm(rounded, weight.T)).mul_(step)
        if bias is None:
            out.mul_(scale)
        else:
            torch.addcmul(bias, out, scale, out=out)
    return y.view(*x.shape[:-1], len(weight))  # (*batch, rows)
