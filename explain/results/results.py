"""Keep what is needed of each example to score any selection of them.

    results = results_of(task)
    results.add(example, prediction)       for each example; after the last one results.finish()
    results.values(rows)                   the value of each of `results.measures` for these rows

Scores have the names and the definitions of `finetune.metrics`: of all rows they are those that
`evaluate` prints.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

Rows = Int64[np.ndarray, " rows"]
Values = Float64[np.ndarray, " measures"]


@dataclass(frozen=True)
class Measure:
    """A measure of some examples: a score of the task, or a rate of one label."""

    name: str
    label: str | None = None
    better: int = 0
    """1 where more is better, −1 where less is, 0 where neither is."""


class Results(ABC):
    """The kept examples and predictions, and the measures of any selection of them."""

    measures: tuple[Measure, ...]
    """The first is the score by which groups are compared first."""

    def __init__(self) -> None:
        self.count = 0

    @abstractmethod
    def add(self, example: Any, prediction: Any) -> None:
        """Keep what is needed of one labelled example and its prediction."""

    @abstractmethod
    def finish(self) -> None:
        """Prepare what is computed once, when all examples are there."""

    @abstractmethod
    def values(self, rows: Rows) -> tuple[Values, Values]:
        """Compute the measures of some rows, NaN where undefined, and the denominator of each."""
