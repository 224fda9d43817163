"""Measure retrieval: rank the paired text of each text among others by the cosine of the vectors.

    rank = 1 + number of other paired texts that are at least as near
    recall@k = fraction of the ranks ≤ k        MRR = mean 1 / rank

Each text is compared with the paired texts of its block of 1,000, so that scores of sets of
different sizes are comparable and memory does not grow. The last texts, which do not fill a block,
are compared with the last 1,000; a set of fewer than 1,000 is one block, which is easier. A paired
text equal to the right one counts as right. Other ties count as nearer: otherwise a model with the
same vector for all texts would be perfect.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from plainformer.finetune.metrics.base import Metric, Mistake, ratio

BLOCK = 1000
"""Number of paired texts that each text is compared with."""
DEPTHS = (1, 5, 10)
TOLERANCE = 1e-6
"""The difference up to which two cosines count as equal."""


class _Pair(NamedTuple):
    text: str
    pair: str
    source: str


class RetrievalMetric(Metric):
    """Recall and mean reciprocal rank within blocks.

    Ranks are computed when a block is full, and when scores or mistakes are read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[tuple[_Pair, Float[np.ndarray, "2 size"]]] = deque(maxlen=BLOCK)
        self._waiting = 0
        self._sums = np.zeros(len(DEPTHS) + 1)  # number of ranks ≤ k for each k, sum of 1 / rank

    def add(
        self, directions: Float[np.ndarray, "2 size"], text: str, pair: str, source: str = ""
    ) -> None:
        """Add one text and its paired text, with their vectors of length 1."""
        self.count += 1
        self._recent.append((_Pair(text, pair, source), directions.copy()))
        self._waiting += 1
        if self._waiting == BLOCK:
            self._measure()

    def _measure(self) -> None:
        """Rank the paired text of each text added since the last call, among the recent pairs."""
        if not self._waiting:
            return
        given = [pair for pair, _ in self._recent]
        texts, pairs = np.stack([vectors for _, vectors in self._recent], axis=1)
        numbers: dict[str, int] = {}
        names = np.array([numbers.setdefault(pair, len(numbers)) for _, pair, _ in given])
        own = np.arange(len(given))[-self._waiting :]
        found, ranks = rank_pairs(texts[own], pairs, names[own, None] == names, own)
        self._sums += [*((ranks <= depth).sum() for depth in DEPTHS), (1 / ranks).sum()]
        nearest = found.argmax(1)
        for row in np.flatnonzero(ranks > 1):
            text, true, source = given[own[row]]
            confidence, predicted = float(found[row, nearest[row]]), given[nearest[row]].pair
            self.add_mistake(Mistake(confidence, source, text, true, predicted))
        self._waiting = 0

    def scores(self) -> dict[str, float]:
        """Compute recall@k and MRR, recall@1 first."""
        self._measure()
        names = [*(f"recall@{depth}" for depth in DEPTHS), "mrr"]
        return {
            name: ratio(x, self.count) for name, x in zip(names, self._sums.tolist(), strict=True)
        }

    @property
    def mistakes(self) -> list[Mistake]:
        """Return the mistakes with the highest confidence, the worst first."""
        self._measure()
        return super().mistakes


def rank_pairs(
    texts: Float[np.ndarray, "own size"],
    pairs: Float[np.ndarray, "block size"],
    is_right: Bool[np.ndarray, "own block"],
    own: Int[np.ndarray, " own"],
) -> tuple[Float[np.ndarray, "own block"], Int[np.ndarray, " own"]]:
    """Rank the paired text of each text, `pairs[own]`, among the pairs of a block.

    Also returns the cosines of the pairs, −∞ for those that are right.
    """
    cosines = texts @ pairs.T
    found = np.where(is_right, -np.inf, cosines)
    least = cosines[np.arange(len(own)), own] - TOLERANCE
    return found, 1 + (found >= least[:, None]).sum(1)
