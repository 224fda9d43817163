"""Find duplicate texts by 8-byte hashes, kept in sorted arrays.

    h(text) = blake2b(text) in 64 bits;   P(a false duplicate among n different texts) ≤ n² / 2⁶⁵,
    which is 3 % for 10⁹ texts

Each array is at least twice as long as the next, so that there are at most log₂ n arrays and a hash
is merged at most log₂ n times (the logarithmic method, Bentley & Saxe, 1980). A text costs 8 bytes
of memory, and up to 24 while the longest arrays are merged: 8 to 24 GB for 10⁹ texts, where a
Python set of integers takes 70 GB.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Int64


def digest(text: str) -> int:
    """Return the hash of a text as a signed 64-bit integer."""
    found = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)


class SeenHashes:
    """The set of hashes seen so far."""

    def __init__(self) -> None:
        self._arrays: list[Int64[np.ndarray, " hashes"]] = []

    def __len__(self) -> int:
        return sum(map(len, self._arrays))

    def add(self, hashes: Int64[np.ndarray, " texts"]) -> Bool[np.ndarray, " texts"]:
        """Add hashes; return for each whether it is new, and the first of its kind here."""
        values, first = np.unique(hashes, return_index=True)
        fresh = np.ones(len(values), bool)
        for array in self._arrays:
            positions = np.minimum(np.searchsorted(array, values), len(array) - 1)
            fresh &= array[positions] != values
        new = np.zeros(len(hashes), bool)
        new[first[fresh]] = True
        array = values[fresh]
        while self._arrays and len(self._arrays[-1]) < 2 * len(array):
            array = np.sort(np.concatenate([self._arrays.pop(), array]), kind="stable")
        if len(array):
            self._arrays.append(array)
        return new
