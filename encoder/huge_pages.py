"""Move prepacked weights to memory pages of 2 MB, for a process that answers many short texts.

A short text reads every weight once. With pages of 4 KB the processor spends up to a quarter of
that time on their addresses. Moving takes some milliseconds a page, so a process that ends soon
leaves its weights where they are.
"""

import ctypes
import sys

import torch
from torch import nn

from plainformer.encoder.prepack import PrepackedLinear

SIZE = 2 << 20
MADV_COLLAPSE = 25  # of linux/mman.h, from Linux 6.1 on


def use_huge_pages(model: nn.Module) -> None:
    """Move the prepacked weights of `model`, in place; do nothing where the system has no way."""
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    for layer in model.modules():
        if isinstance(layer, PrepackedLinear):
            start = torch.ops.mkldnn.data_ptr(layer.weight)
            end = start + torch.ops.mkldnn._nbytes(layer.weight)
            first, last = start // SIZE * SIZE, -(-end // SIZE) * SIZE
            advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_COLLAPSE)
