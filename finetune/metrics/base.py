"""Define the interface of metrics: add examples one by one, compute scores, return tables.

A metric keeps counts and the texts of the worst mistakes, not the outputs of all examples. Ranks
need all numbers at once, so AUC keeps 9 bytes for each text and label, Spearman 16 for each text.
"""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

KEPT_MISTAKES = 20


@dataclass(frozen=True)
class Table:
    """A titled table for the terminal and the report; numbers are shown to three places."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True, order=True)
class Mistake:
    """A wrong prediction, with its confidence or error as `score`."""

    score: float
    source: str = field(compare=False)
    text: str = field(compare=False)
    true: str = field(compare=False)
    predicted: str = field(compare=False)


def rankable(score: float) -> float:
    """Return a score to compare by: −∞ where it is not defined."""
    return -math.inf if math.isnan(score) else score


class Metric(ABC):
    """Counts from which scores are computed.

    Each metric has a method `add` of its own, which takes the true and the predicted value of one
    example, and its `source` (file:line) and `text` for the list of mistakes.
    """

    mistakes_title: ClassVar[str] = "The mistakes that the model was surest of"
    mistake_score: ClassVar[str] = "confidence"
    """Name of the number by which mistakes are ranked."""

    def __init__(self) -> None:
        self.count = 0
        self._mistakes: list[Mistake] = []

    def never_predicted(self) -> list[str]:
        """List the labels that occur but were never predicted; by default none."""
        return []

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """Compute the scores, the main one first."""

    @property
    def main(self) -> tuple[str, float]:
        """Return the name and the value of the main score, by which models are compared."""
        return next(iter(self.scores().items()))

    def tables(self) -> list[Table]:
        """Return tables of more detailed scores; by default none."""
        return []

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metrics.json`, where an undefined score (NaN) becomes null."""
        return {"examples": self.count, **self.scores()}

    @property
    def mistakes(self) -> list[Mistake]:
        """Return the worst mistakes, the worst first."""
        return sorted(self._mistakes, reverse=True)

    def add_mistake(self, mistake: Mistake) -> None:
        """Keep a mistake if it is among the `KEPT_MISTAKES` worst."""
        if len(self._mistakes) < KEPT_MISTAKES:
            heapq.heappush(self._mistakes, mistake)
        else:
            heapq.heappushpop(self._mistakes, mistake)


def spoken(value: str | float) -> str:
    """Format a count with commas, a number to three places, and NaN as a dash."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if math.isnan(value) else f"{value:.3f}"


def ratio(part: float, whole: float) -> float:
    """Compute part / whole; 0 where the whole is 0."""
    return part / whole if whole else 0.0
