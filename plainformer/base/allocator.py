"""Keep freed memory in the process during training, and limit the kernels that oneDNN caches.

A step of training asks for blocks of megabytes, and is done with most of them at its end. C's
library on Linux gives such blocks back at once, and the system then hands out every page again,
filled with zeros: up to 8 % of a step (`python benchmarks/allocator.py`).
"""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers: how much free memory, and from which size on a block, goes back at once"""
LARGEST = 2**31 - 1
KERNELS = "32"
"""Kernels that oneDNN caches where many batches are computed."""


def keep_memory() -> None:
    """Give nothing back below 2 GiB; where C's library is not glibc, nothing changes."""
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    for name in (TRIM_THRESHOLD, MMAP_THRESHOLD):
        library.mallopt(name, LARGEST)


def few_kernels() -> None:
    """Limit the cache of oneDNN, which compiles a kernel for each number of tokens in a batch.

    Call this before torch is imported. By default oneDNN keeps 1,024 kernels, and torch as many
    again: half a megabyte each, so that memory grows for hours. Sizes of large batches hardly ever
    repeat, and compiling a kernel takes half a millisecond. Sizes of single texts do repeat, so
    commands that read single texts keep the default.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS)
