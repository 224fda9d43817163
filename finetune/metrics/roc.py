"""Measure the ranking by probability: the ROC curve of each label and the area under it.

AUC(label) is the chance that a text with the label has a higher probability of it than a text
without, where ties count half; it equals scikit-learn's `roc_auc_score`. With R the sum of the
ranks of the label's n texts among all N, where equal probabilities share the mean of their ranks
(Mann & Whitney 1947):

    AUC = (R − n (n + 1) / 2) / (n (N − n))

Ranks need all probabilities at once: memory grows by 9 bytes for each text and label.
"""

from array import array

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

POINTS = 2000
"""The most points of a curve."""


class StreamingROC:
    """The probabilities of each label, collected for texts with and without the label."""

    def __init__(self, num_labels: int) -> None:
        self.num_labels = num_labels
        self._probabilities = array("d")
        self._is_true = bytearray()

    def add(
        self, is_true: Bool[np.ndarray, " labels"], probabilities: Float[np.ndarray, " labels"]
    ) -> None:
        """Add one text: the labels it has, and the probability of each label."""
        self._probabilities.frombytes(probabilities.astype(np.float64).tobytes())
        self._is_true += is_true.astype(np.bool_).tobytes()

    def areas(self) -> Float64[np.ndarray, " labels"]:
        """Compute the area under the curve of each label.

        It is NaN where all texts have the label, or none, or where a probability is NaN.
        """
        return np.array([_area(*self._of(label)) for label in range(self.num_labels)])

    def curve(
        self, label: int, points: int = POINTS
    ) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """Compute the ROC curve of a label: false and true positive rates, at most `points` each.

        It has a point for each threshold; of more than `points`, evenly spaced ones are kept.
        """
        is_true, probabilities = self._of(label)
        _, number = np.unique(-probabilities, return_inverse=True)
        counts = np.zeros((2, number.max(initial=-1) + 1), np.int64)  # without, with the label
        np.add.at(counts, (is_true.astype(np.int64), number), 1)
        rates = counts.cumsum(1) / np.maximum(counts.sum(1, keepdims=True), 1)
        if rates.shape[1] > points:
            rates = rates[:, np.linspace(0, rates.shape[1] - 1, points).astype(np.int64)]
        return np.concatenate([[0.0], rates[0]]), np.concatenate([[0.0], rates[1]])

    def _of(self, label: int) -> tuple[Bool[np.ndarray, " texts"], Float64[np.ndarray, " texts"]]:
        is_true = np.frombuffer(bytes(self._is_true), np.bool_)[label :: self.num_labels]
        return is_true, np.array(self._probabilities[label :: self.num_labels])


def ranks(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Rank numbers from 1 on; equal ones share the mean of their ranks."""
    _, number, counts = np.unique(x, return_inverse=True, return_counts=True)
    last: Int64[np.ndarray, " m"] = counts.cumsum()
    shared: Float64[np.ndarray, " n"] = (last - (counts - 1) / 2)[number]
    return shared


def _area(is_true: Bool[np.ndarray, " n"], probabilities: Float64[np.ndarray, " n"]) -> float:
    own, others = int(is_true.sum()), int((~is_true).sum())
    if not own or not others or np.isnan(probabilities).any():
        return float("nan")
    won = ranks(probabilities)[is_true].sum() - own * (own + 1) / 2
    return float(won / (own * others))


def mean_area(areas: Float64[np.ndarray, " labels"]) -> float:
    """Average the areas of the labels that have one; NaN where none has."""
    known = areas[~np.isnan(areas)]
    return float(known.mean()) if len(known) else float("nan")
