"""How well the vector of a text finds that of its pair, among those of other pairs.

    rank = 1 + how many other texts are at least as near        recall@k = share of ranks ≤ k
    MRR = mean 1 / rank

Each text looks among the pairs of its block of 1,000, so that figures of different sets can be
compared, and memory does not grow. The last texts, which fill no block, look among the last 1,000;
a set that is smaller than that is a single block, and easier. A pair that reads as the right one
does is right, too; other ties count against the model, or one that gave every text the same vector
would be perfect.
"""

from collections import deque
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from plainformer.finetune.metrics.base import Metric, Mistake, share

BLOCK = 1000
"""pairs among which a text finds its own"""
DEPTHS = (1, 5, 10)
SAME = 1e-6
"""cosines that differ by less are equal"""


@runtime_checkable
class Paired(Protocol):
    """An example of two texts that belong together."""

    @property
    def text(self) -> str:
        """The one that looks."""

    @property
    def pair(self) -> str | None:
        """The one to be found."""

    @property
    def place(self) -> str:
        """File and line."""


@runtime_checkable
class Embedded(Protocol):
    """The vectors of an example's texts."""

    @property
    def directions(self) -> Float[np.ndarray, "texts size"]:
        """Return the vectors of a text and its pair, scaled to length 1."""


class RetrievalMetric(Metric[Paired, Embedded]):
    """Recall and reciprocal rank within blocks.

    What was added is measured when a block is full, or when a figure is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[tuple[Paired, Float[np.ndarray, "2 size"]]] = deque(maxlen=BLOCK)
        self._waiting = 0
        self._sums = np.zeros(len(DEPTHS) + 1)  # ranks ≤ k for each depth k, and 1 / rank

    def add(self, example: Paired, prediction: Embedded) -> None:
        """Count one text and its pair."""
        self.count += 1
        self._recent.append((example, prediction.directions[:2].copy()))
        self._waiting += 1
        if self._waiting == BLOCK:
            self._measure()

    def _measure(self) -> None:
        """Let those that wait look among all that are recent."""
        if not self._waiting:
            return
        examples = [example for example, _ in self._recent]
        texts, pairs = np.stack([vectors for _, vectors in self._recent], axis=1)
        numbers: dict[str | None, int] = {}
        names = np.array([numbers.setdefault(e.pair, len(numbers)) for e in examples])
        own = np.arange(len(examples))[-self._waiting :]
        cosines = texts[own] @ pairs.T
        found = np.where(names[own, None] == names, -np.inf, cosines)
        least = cosines[np.arange(len(own)), own] - SAME
        ranks = 1 + (found >= least[:, None]).sum(1)
        self._sums += [*((ranks <= depth).sum() for depth in DEPTHS), (1 / ranks).sum()]
        nearest = found.argmax(1)
        for row in np.flatnonzero(ranks > 1):
            example, taken = examples[own[row]], examples[nearest[row]]
            confidence = float(found[row, nearest[row]])
            true, predicted = str(example.pair), str(taken.pair)
            self.mistaken(Mistake(confidence, example.place, example.text, true, predicted))
        self._waiting = 0

    def scores(self) -> dict[str, float]:
        """Recall of the nearest first."""
        self._measure()
        names = [*(f"recall@{depth}" for depth in DEPTHS), "mrr"]
        return {
            name: share(x, self.count) for name, x in zip(names, self._sums.tolist(), strict=True)
        }

    @property
    def mistakes(self) -> list[Mistake]:
        """The mistakes that the model was surest of, the worst first."""
        self._measure()
        return super().mistakes
