"""Which texts have come before: hashes of 8 bytes, in sorted runs.

    h(text) = blake2b(text) in 64 bits;   n texts of which none is a copy: P(one taken for a copy)
    ≤ n² / 2⁶⁵, which is 3 % for a thousand million

Each run is at least twice as long as the next, so that there are at most log₂ n of them and a hash
is merged as often (the logarithmic method of Bentley & Saxe, 1980). A text costs 8 bytes of memory,
and up to 24 while the longest runs are merged: 8 to 24 GB for a thousand million texts, where a
set of Python's numbers takes 70.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Int64


def digest(text: str) -> int:
    """Give the hash of a text, as a signed number of 64 bits."""
    found = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)


class SeenHashes:
    """The hashes that have come so far."""

    def __init__(self) -> None:
        self._runs: list[Int64[np.ndarray, " run"]] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, hashes: Int64[np.ndarray, " texts"]) -> Bool[np.ndarray, " texts"]:
        """Take these in; give for each whether it is new: the first of its kind, here as well."""
        values, places = np.unique(hashes, return_index=True)
        fresh = np.ones(len(values), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, values), len(run) - 1)
            fresh &= run[at] != values
        new = np.zeros(len(hashes), bool)
        new[places[fresh]] = True
        run = values[fresh]
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
        return new
