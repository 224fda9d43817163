"""A linear layer that multiplies bytes, in ranges known beforehand, in a plain and a fused form.

    x_q = ⌊x · factor + shift⌋, from 0 to 255
    y = act(scale · (x_q W_qᵀ) + offset)

oneDNN does all of the second line in one call, while the output is in the processor's cache. Where
a step and a zero are given, the output becomes bytes again, for the next product.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from plainformer.encoder.ops import prepacked
from plainformer.encoder.ops.shared_kernels import share_kernel

Bytes = UInt8[Tensor, "*batch columns"]
Grid = tuple[float, int]
"""The step of the bytes of an output, and the byte that stands for 0."""

HAS_KERNEL = (
    torch.cpu._is_vnni_supported()
    and "AVX512" in torch.backends.cpu.get_cpu_capability()
    and hasattr(torch.ops.onednn, "qlinear_pointwise")
)
"""The presence of oneDNN's product of bytes; without VNNI instructions its sums may overflow."""
NO_ZERO = torch.zeros(1, dtype=torch.int32)  # that of the weights


def plain_quantise(
    x: Float[Tensor, "*batch columns"],
    factor: Float[Tensor, " columns"],
    shift: Float[Tensor, " columns"],
) -> Bytes:
    """Round to bytes: ⌊x · factor + shift⌋, from 0 to 255."""
    return torch.floor(x * factor + shift).clamp(0, 255).to(torch.uint8)


def fused_quantise(
    x: Float[Tensor, "*batch columns"],
    factor: Float[Tensor, " columns"],
    shift: Float[Tensor, " columns"],
) -> Bytes:
    """Round to bytes, by way of int16: torch turns floating-point numbers into them much faster."""
    return torch.addcmul(shift, x, factor).clamp_(0, 255).to(torch.int16).to(torch.uint8)


def pack(weight: Int8[Tensor, "rows columns"]) -> Tensor | None:
    """Copy a weight into oneDNN's layout, where it has the kernel."""
    if not HAS_KERNEL or weight.device.type != "cpu":
        return None
    packed: Tensor = torch.ops.onednn.qlinear_prepack(weight, None)
    return packed


def plain_linear(
    x: Bytes,
    weight: Int8[Tensor, "rows columns"],
    packed: Tensor | None,
    scale: Float[Tensor, " rows"],
    offset: Float[Tensor, " rows"],
    act: str | None = None,
    out: Grid | None = None,
) -> Float[Tensor, "*batch rows"] | UInt8[Tensor, "*batch rows"]:
    """Compute act(scale · (x_q W_qᵀ) + offset); in float64 the product is exact."""
    formula, _ = prepacked.ACTIVATIONS[act]
    y = formula((x.double() @ weight.double().T * scale + offset).float())
    if out is None:
        return y
    step, zero = out
    return torch.round(y / step + zero).clamp(0, 255).to(torch.uint8)


def fused_linear(
    x: Bytes,
    weight: Int8[Tensor, "rows columns"],
    packed: Tensor | None,
    scale: Float[Tensor, " rows"],
    offset: Float[Tensor, " rows"],
    act: str | None = None,
    out: Grid | None = None,
) -> Float[Tensor, "*batch rows"] | UInt8[Tensor, "*batch rows"]:
    """Compute act(scale · (x_q W_qᵀ) + offset) in one call, from the packed weight."""
    if packed is None or x.is_cuda:
        return plain_linear(x, weight, packed, scale, offset, act, out)
    _, (name, kind) = prepacked.ACTIVATIONS[act]
    step, zero = out or (1.0, 0)
    dtype = torch.float32 if out is None else torch.uint8
    product: Callable[..., Tensor] = torch.ops.onednn.qlinear_pointwise
    rows = share_kernel(x) if x.dim() == 2 else x
    y = product(
        *(rows, 1.0, 0), *(packed, scale, NO_ZERO), offset, *(step, zero, dtype), *(name, [], kind)
    )
    return y if rows is x else y[: len(x)]
