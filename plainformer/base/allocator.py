"""Keep freed memory in the process during training, and limit the kernels that oneDNN caches.

A training step allocates blocks of megabytes and frees most of them at its end. glibc returns such
blocks to the system at once, and the next step has to fault in and clear every page again: up to
8 % of the step's time (`python benchmarks/allocator.py`).
"""

import ctypes
import os
import sys

# glibc's mallopt parameters (malloc.h)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAX_THRESHOLD = 2**31 - 1
CACHED_KERNELS = "32"


def keep_memory() -> None:
    """Keep freed blocks below 2 GiB in the process; do nothing where libc is not glibc."""
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        library.mallopt(parameter, MAX_THRESHOLD)


def limit_kernel_cache() -> None:
    """Limit the cache of oneDNN, which compiles a kernel for each number of tokens in a batch.

    Call this before torch is imported. By default oneDNN keeps 1,024 kernels, and torch as many
    again: half a megabyte each, so that memory grows for hours. Sizes of large batches hardly ever
    repeat, and compiling a kernel takes half a millisecond. Sizes of single texts do repeat, so
    commands that read single texts keep the default.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, CACHED_KERNELS)
