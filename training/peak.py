"""Measure the peak rate of a device: floating-point operations per second of matrix products.

    peak = max 2 n³ / seconds of one n × n product, in the number format of training

n is doubled from 512 up to 8192 for as long as a product takes under 20 ms, so that a small CPU and
a large GPU are both measured at sizes that suit them; the best product of 0.4 seconds counts. A
data sheet does not know the clock, the library or the number of threads; this figure is the peak of
the process that trains. Other work on the machine lowers it.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

SECONDS = 0.4
SMALLEST, LARGEST = 512, 8192
LONG_ENOUGH = 0.02


@cache
def peak_flops(
    device: torch.device,
    number_format: torch.dtype,
    multiply: Callable[[Tensor, Tensor], Tensor] = torch.mm,
) -> float:
    """Return the peak in operations a second; measured once for each process."""
    generator = torch.Generator(device).manual_seed(0)
    size, best, factor = SMALLEST, 0.0, None
    begin = time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        if factor is None or len(factor) != size:
            factor = torch.randn(size, size, generator=generator, device=device).to(number_format)
            synchronize(device)
        start = time.perf_counter()
        multiply(factor, factor)
        synchronize(device)
        seconds = time.perf_counter() - start
        best = max(best, 2 * size**3 / seconds)
        if seconds < LONG_ENOUGH and size < LARGEST:
            size *= 2
    return best


def synchronize(device: torch.device) -> None:
    """Wait until all operations on `device` are done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
