"""What a process has once been given stays with it.

A step of training asks for blocks of megabytes, and is done with most of them at its end. C's
library on Linux gives such blocks back at once, and the system then hands out every page again,
filled with zeros: up to 8 % of a step (`python benchmarks/allocator.py`).
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers: how much free memory, and from which size on a block, goes back at once"""
LARGEST = 2**31 - 1


def keep_memory() -> None:
    """Give nothing back below 2 GiB; where C's library is not glibc, nothing changes."""
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    for name in (TRIM_THRESHOLD, MMAP_THRESHOLD):
        library.mallopt(name, LARGEST)
