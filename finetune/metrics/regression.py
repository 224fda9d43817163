"""Measure predicted numbers by error and correlation.

    MSE = mean (x − y)²      MAE = mean |x − y|
    Pearson = cov(x, y) / (σ_x σ_y)
    Spearman = Pearson of the ranks; equal numbers share the mean of their ranks

Both correlations are NaN where all numbers are equal or one is NaN, as in SciPy. Ranks need all
numbers at once: memory grows by two float64, 16 bytes, for each text.
"""

from array import array

import numpy as np
from jaxtyping import Float64

from plainformer.finetune.metrics.base import Metric, Mistake, ratio
from plainformer.finetune.metrics.roc import ranks

Numbers = Float64[np.ndarray, " n"]


class NumberMetric(Metric):
    """Errors and correlations for one number per text."""

    mistakes_title = "The largest errors"
    mistake_score = "error"

    def __init__(self) -> None:
        super().__init__()
        self._true, self._predicted = array("d"), array("d")

    def add(self, true: float, predicted: float, source: str = "", text: str = "") -> None:
        """Add one text: its true and its predicted number."""
        self.count += 1
        self._true.append(true)
        self._predicted.append(predicted)
        error = abs(true - predicted)
        if error:
            self.add_mistake(Mistake(error, source, text, f"{true:.4g}", f"{predicted:.4g}"))

    @property
    def true(self) -> Numbers:
        """Return the true number of each text."""
        return np.array(self._true)

    @property
    def predicted(self) -> Numbers:
        """Return the predicted number of each text."""
        return np.array(self._predicted)

    def scores(self) -> dict[str, float]:
        """Compute correlations and errors, Spearman's correlation first."""
        true, predicted = self.true, self.predicted
        errors = predicted - true
        return {
            "spearman": spearman(true, predicted),
            "pearson": pearson(true, predicted),
            "mse": ratio(float(errors @ errors), self.count),
            "mae": ratio(float(np.abs(errors).sum()), self.count),
        }


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
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))  # rounding may go beyond
