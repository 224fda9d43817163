"""Compute a pseudo-random permutation position by position, without storing it.

    π(i) = E(E(… E(i))), until it is below n;   E: rounds of (l, r) → (r, l ⊕ F(r, key))

E is a Feistel network on just as many bits as n − 1 has: a bijection whatever F is, keyed by (seed,
epoch). Applying it until the value is below n gives a bijection on [0, n), in fewer than two steps
on average (Black & Rogaway 2002). F is the finaliser of SplitMix64 (Steele et al. 2014), in which
every bit of the input affects every bit of the output. With 24 rounds such a network shuffles well
enough for data, even on few bits (Mitchell et al. 2021, arXiv:2106.06161); it is no cipher.
"""

import numpy as np
from jaxtyping import Int64, UInt64

ROUNDS = 24


class Shuffle:
    """A permutation of [0, n) for each seed and epoch."""

    def __init__(self, n: int, seed: int, epoch: int) -> None:
        self._n = n
        bits = max(n - 1, 0).bit_length()
        self._halves = bits // 2, bits - bits // 2
        self._keys = np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)

    def __call__(self, places: Int64[np.ndarray, " places"]) -> Int64[np.ndarray, " places"]:
        """Return the items at these positions of the permutation."""
        items = self._network(places.astype(np.uint64))
        while len(beyond := np.flatnonzero(items >= self._n)):
            items[beyond] = self._network(items[beyond])
        return items.astype(np.int64)

    def _network(self, values: UInt64[np.ndarray, " places"]) -> UInt64[np.ndarray, " places"]:
        a, b = self._halves
        left, right = values >> np.uint64(b), values & np.uint64((1 << b) - 1)
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & np.uint64((1 << a) - 1))
            a, b = b, a
        joined: UInt64[np.ndarray, " places"] = left << np.uint64(b) | right
        return joined


def _mixed(x: UInt64[np.ndarray, " places"]) -> UInt64[np.ndarray, " places"]:
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, " places"] = x ^ x >> np.uint64(31)
    return mixed
