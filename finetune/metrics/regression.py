"""Measure predicted numbers by error and correlation.

    MSE = mean (x − y)²      MAE = mean |x − y|
    Pearson = cov(x, y) / (σ_x σ_y): do they lie on a line?
    Spearman = Pearson of the ranks, equal numbers sharing the mean of theirs: is the order right?

Where all numbers are equal, or one is NaN, the two correlations are not defined: NaN. As in SciPy.
Ranks need all numbers at once: memory grows by two float64, 16 bytes, for each text.
"""

from array import array
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from plainformer.base import plural
from plainformer.finetune.metrics.base import Metric, Mistake, share
from plainformer.finetune.metrics.roc import ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 2000
"""of a picture: more would only lie upon each other"""

Numbers = Float64[np.ndarray, " n"]


@runtime_checkable
class Scored(Protocol):
    """An example with a number."""

    @property
    def score(self) -> float | None:
        """The number."""

    @property
    def place(self) -> str:
        """File and line."""

    @property
    def shown(self) -> str:
        """The text as a person reads it."""


@runtime_checkable
class Scoring(Protocol):
    """A predicted number."""

    @property
    def score(self) -> float:
        """The number."""


class NumberMetric(Metric[Scored, Scoring]):
    """Errors and correlations of one number a text."""

    mistakes_title = "The largest errors"
    badness = "error"

    def __init__(self) -> None:
        super().__init__()
        self._true, self._predicted = array("d"), array("d")

    def add(self, example: Scored, prediction: Scoring) -> None:
        """Count one text."""
        assert example.score is not None
        self.count += 1
        self._true.append(example.score)
        self._predicted.append(prediction.score)
        error = abs(example.score - prediction.score)
        if error:
            texts = (f"{score:.4g}" for score in (example.score, prediction.score))
            self.mistaken(Mistake(error, example.place, example.shown, *texts))

    @property
    def true(self) -> Numbers:
        """What is true of each text."""
        return np.array(self._true)

    @property
    def predicted(self) -> Numbers:
        """And what was said."""
        return np.array(self._predicted)

    def scores(self) -> dict[str, float]:
        """Spearman's correlation first."""
        true, predicted = self.true, self.predicted
        errors = predicted - true
        return {
            "spearman": spearman(true, predicted),
            "pearson": pearson(true, predicted),
            "mse": share(float(errors @ errors), self.count),
            "mae": share(float(np.abs(errors).sum()), self.count),
        }

    def figures(self) -> dict[str, "Figure"]:
        """Predicted against true numbers."""
        step = -(-self.count // POINTS)
        title = f"Spearman {self.scores()['spearman']:.3f}, {plural(self.count, 'text')}"
        return {"scatter": scatter_figure(self.true[::step], self.predicted[::step], title)}


def spearman(x: Numbers, y: Numbers) -> float:
    """Correlate the ranks of two series; NaN where one is constant or holds a NaN."""
    if np.isnan(x).any() or np.isnan(y).any():  # a NaN has no rank
        return float("nan")
    return pearson(ranks(x), ranks(y))


def pearson(x: Numbers, y: Numbers) -> float:
    """Correlate two series; NaN where one is constant or holds a number that is not finite."""
    if len(x) == 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def scatter_figure(true: Numbers, predicted: Numbers, title: str) -> "Figure":
    """A point for each text; a perfect model's lie on the diagonal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="#a0aec0", linestyle=":")
    axes.scatter(true, predicted, s=8, color="#2b6cb0", alpha=0.4, linewidths=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_title(title)
    return figure
