"""Keep freed memory in the process or return it, and limit the kernels that oneDNN caches.

A training step allocates blocks of megabytes and frees most of them at its end. glibc returns such
blocks to the system at once, and the next step has to fault in and clear every page again: up to
8 % of the step's time (`python benchmarks/allocator.py`).

A server computes batches of all sizes for months. Large blocks that it keeps are cut up by those of
other sizes, until none fits, and memory grows (`benchmarks/LOG.md`).
"""

import ctypes
import os
import sys

# glibc's mallopt parameters (malloc.h)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAX_THRESHOLD = 2**31 - 1
CACHED_KERNELS = "96"  # of short texts 64: 16 numbers of rows, four products
RETURNED, KEPT = 2**22, 2**24
"""Bytes of the smallest block that is returned, and those that a thread may keep in all."""


def keep_memory() -> None:
    """Keep freed blocks below 2 GiB in the process; do nothing where libc is not glibc."""
    _set_thresholds(MAX_THRESHOLD, MAX_THRESHOLD)


def return_memory() -> None:
    """Return freed blocks of 4 MB or more to the system; do nothing where libc is not glibc.

    Call this before torch is imported: where the system has pages of 2 MB, torch then asks for
    them, which halves the time to fault such blocks in. Without this call glibc keeps blocks of up
    to 32 MB, once some were freed.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _set_thresholds(KEPT, RETURNED)


def trim_memory() -> None:
    """Return all pages that are free to the system, for example when a model was loaded."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _set_thresholds(trim: int, mmap: int) -> None:
    if (library := _glibc()) is not None:
        library.mallopt(M_TRIM_THRESHOLD, trim)
        library.mallopt(M_MMAP_THRESHOLD, mmap)


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None


def limit_kernel_cache() -> None:
    """Limit the cache of oneDNN, which compiles a kernel for each number of tokens in a batch.

    Call this before torch is imported. By default oneDNN keeps 1,024 kernels, and torch as many
    again: half a megabyte each, so that memory grows for hours. Sizes of large batches hardly ever
    repeat, and compiling a kernel takes a millisecond. Short texts of like length share kernels
    where the number is limited (`encoder.ops.shared_kernels`).
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, CACHED_KERNELS)
