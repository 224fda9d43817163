"""Define the interface of metrics: add one example at a time, compute, and show.

Metrics stream: no text, logits or vectors are kept, only counts. A rank needs all numbers at once,
so AUC keeps 9 bytes for each text and label, and Spearman 16 bytes for each text.
"""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ExampleT = TypeVar("ExampleT", contravariant=True)
PredictionT = TypeVar("PredictionT", contravariant=True)

KEPT_MISTAKES = 20


@dataclass(frozen=True)
class Table:
    """Rows under columns, for the terminal and for a page; numbers are shown to three places."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True, order=True)
class Mistake:
    """A prediction that is wrong, and how sure the model was of it, or how far off."""

    confidence: float
    place: str = field(compare=False)
    text: str = field(compare=False)
    true: str = field(compare=False)
    predicted: str = field(compare=False)


class Metric(ABC, Generic[ExampleT, PredictionT]):
    """A streaming account of how good predictions are."""

    mistakes_title: ClassVar[str] = "The mistakes that the model was surest of"
    badness: ClassVar[str] = "confidence"
    """by what a mistake is bad"""

    def __init__(self) -> None:
        self.count = 0
        self._mistakes: list[Mistake] = []

    @abstractmethod
    def add(self, example: ExampleT, prediction: PredictionT) -> None:
        """Count one more example."""

    def never_predicted(self) -> list[str]:
        """List the labels that occur and were never predicted; by default none."""
        return []

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """The figures by which a model is judged, the first one first."""

    def tables(self) -> list[Table]:
        """What stands behind the scores."""
        return []

    def figures(self) -> Mapping[str, "Figure"]:
        """Pictures, by name."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """All of it, for `metrics.json`; a figure that is not defined (NaN) is null there."""
        return {"examples": self.count, **self.scores()}

    @property
    def mistakes(self) -> list[Mistake]:
        """The worst mistakes, the worst first."""
        return sorted(self._mistakes, reverse=True)

    def mistaken(self, mistake: Mistake) -> None:
        """Keep a mistake, as long as it is among the worst."""
        if len(self._mistakes) < KEPT_MISTAKES:
            heapq.heappush(self._mistakes, mistake)
        else:
            heapq.heappushpop(self._mistakes, mistake)


def spoken(value: str | float) -> str:
    """A text as it is, a count with its commas, a number to three places, a dash for none (NaN)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if math.isnan(value) else f"{value:.3f}"


def share(part: float, whole: float) -> float:
    """part / whole, and 0 of nothing."""
    return part / whole if whole else 0.0
