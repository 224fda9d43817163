"""Measure how well the vector of a text finds that of its pair, among those of other pairs.

    rank = 1 + number of other pairs that are at least as near
    recall@k = fraction of the ranks ≤ k        MRR = mean 1 / rank

Each text is compared with the pairs of its block of 1,000, so that sets of different sizes can be
compared and memory does not grow. The last texts, which fill no block, are compared with the last
1,000; a smaller set is a single block, and easier. A pair with the same text as the right one is
right, too; other ties count against the model, or equal vectors for all texts would be perfect.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from plainformer.finetune.metrics.base import Metric, Mistake, ratio

BLOCK = 1000
"""Number of pairs among which each text is ranked."""
DEPTHS = (1, 5, 10)
TOLERANCE = 1e-6
"""Cosines that differ by less are equal."""


class _Pair(NamedTuple):
    text: str
    pair: str
    source: str


class RetrievalMetric(Metric):
    """Recall and reciprocal rank within blocks.

    Ranks are computed when a block is full, or when scores are read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[tuple[_Pair, Float[np.ndarray, "2 size"]]] = deque(maxlen=BLOCK)
        self._waiting = 0
        self._sums = np.zeros(len(DEPTHS) + 1)  # number of ranks ≤ k for each k, sum of 1 / rank

    def add(
        self, directions: Float[np.ndarray, "2 size"], text: str, pair: str, source: str = ""
    ) -> None:
        """Count one text and its pair by their vectors, of length 1."""
        self.count += 1
        self._recent.append((_Pair(text, pair, source), directions.copy()))
        self._waiting += 1
        if self._waiting == BLOCK:
            self._measure()

    def _measure(self) -> None:
        """Rank the pairs of the texts that wait among all recent ones."""
        if not self._waiting:
            return
        given = [pair for pair, _ in self._recent]
        texts, pairs = np.stack([vectors for _, vectors in self._recent], axis=1)
        numbers: dict[str, int] = {}
        names = np.array([numbers.setdefault(pair, len(numbers)) for _, pair, _ in given])
        own = np.arange(len(given))[-self._waiting :]
        cosines = texts[own] @ pairs.T
        found = np.where(names[own, None] == names, -np.inf, cosines)
        least = cosines[np.arange(len(own)), own] - TOLERANCE
        ranks = 1 + (found >= least[:, None]).sum(1)
        self._sums += [*((ranks <= depth).sum() for depth in DEPTHS), (1 / ranks).sum()]
        nearest = found.argmax(1)
        for row in np.flatnonzero(ranks > 1):
            text, true, source = given[own[row]]
            confidence, predicted = float(found[row, nearest[row]]), given[nearest[row]].pair
            self.add_mistake(Mistake(confidence, source, text, true, predicted))
        self._waiting = 0

    def scores(self) -> dict[str, float]:
        """Compute the recall at rank 1 first."""
        self._measure()
        names = [*(f"recall@{depth}" for depth in DEPTHS), "mrr"]
        return {
            name: ratio(x, self.count) for name, x in zip(names, self._sums.tolist(), strict=True)
        }

    @property
    def mistakes(self) -> list[Mistake]:
        """Return the mistakes that the model was surest of, the worst first."""
        self._measure()
        return super().mistakes
