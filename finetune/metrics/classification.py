"""Measure a classifier by its confusion matrix, the ranking of probabilities, and calibration.

With tp, fp, fn the true positives, false positives and false negatives of a label: precision =
tp / (tp + fp), recall = tp / (tp + fn), F1 is their harmonic mean, and 0 / 0 is 0. Macro averages
are plain means over the labels that occur or were predicted; weighted averages weigh each label by
its number of texts. All as in scikit-learn (`zero_division=0`).

Expected calibration error: the mean gap between confidence and accuracy over 15 bins of equal width
of the predicted label's probability, weighted by their numbers of texts (Guo et al. 2017,
arXiv:1706.04599).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from plainformer.finetune.metrics.base import Metric, Mistake, Table, ratio
from plainformer.finetune.metrics.roc import StreamingROC, mean_area

CALIBRATION_BINS = 15


class ClassMetric(Metric):
    """Accuracy, precision, recall, F1, AUC and calibration for one label per text."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self._numbers = {label: number for number, label in enumerate(labels)}
        self.confusion: Int64[np.ndarray, "labels labels"] = np.zeros(
            (len(labels), len(labels)), np.int64
        )
        """Number of texts of label i for which label j was predicted, at [i, j]."""
        self.roc = StreamingROC(len(labels))
        self._bins = np.zeros((3, CALIBRATION_BINS))  # number, sum of confidence, number right

    def add(
        self,
        true: str,
        predicted: str,
        probabilities: Mapping[str, float],
        source: str = "",
        text: str = "",
    ) -> None:
        """Add one text: its true and its predicted label, and the probability of each label."""
        row, column = self._numbers[true], self._numbers[predicted]
        self.count += 1
        self.confusion[row, column] += 1
        self.roc.add(
            np.arange(len(self.labels)) == row,
            np.array([probabilities[label] for label in self.labels]),
        )
        confidence = float(probabilities[predicted])
        bin_ = min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
        self._bins[:, bin_] += (1, confidence, true == predicted)
        if true != predicted:
            self.add_mistake(Mistake(confidence, source, text, true, predicted))

    def never_predicted(self) -> list[str]:
        """List the labels that occur but were never predicted."""
        support, taken = self.confusion.sum(1), self.confusion.sum(0)
        return [self.labels[i] for i in np.flatnonzero((support > 0) & (taken == 0))]

    @property
    def accuracy(self) -> float:
        """Compute the fraction of texts whose label was predicted."""
        return ratio(int(self.confusion.trace()), int(self.confusion.sum()))

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Compute precision, recall, F1, AUC and number of texts of each label; 0 for 0 / 0."""
        right = self.confusion.diagonal().tolist()
        support, taken = self.confusion.sum(1).tolist(), self.confusion.sum(0).tolist()
        areas = self.roc.areas().tolist()
        return {
            label: {
                "precision": ratio(right[i], taken[i]),
                "recall": ratio(right[i], support[i]),
                "f1": ratio(2 * right[i], support[i] + taken[i]),
                "auc": areas[i],
                "support": support[i],
            }
            for i, label in enumerate(self.labels)
        }

    def average(self, name: str, weighted: bool = False) -> float:
        """Average the score `name` over the labels that occur or were predicted."""
        support = self.confusion.sum(1)
        seen = (support + self.confusion.sum(0)) > 0
        values = np.array([row[name] for row in self.per_label.values()])
        weights = support if weighted else seen.astype(np.int64)
        return ratio(float((values * weights).sum()), float(weights.sum()))

    @property
    def macro_f1(self) -> float:
        """Average F1 over the labels that occur or were predicted."""
        return self.average("f1")

    @property
    def calibration_error(self) -> float:
        """Compute the expected calibration error."""
        counts, confidence, right = self._bins
        return ratio(float(np.abs(confidence - right).sum()), float(counts.sum()))

    def scores(self) -> dict[str, float]:
        """Compute the scores over all labels, accuracy first."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "macro_precision": self.average("precision"),
            "macro_recall": self.average("recall"),
            "weighted_f1": self.average("f1", weighted=True),
            "macro_auc": mean_area(self.roc.areas()),
            "calibration_error": self.calibration_error,
        }

    def tables(self) -> list[Table]:
        """Return the scores of each label, and the confusion matrix."""
        columns = ("precision", "recall", "f1", "auc", "support")
        rows: list[list[str | float]] = [
            [label, *(row[column] for column in columns)] for label, row in self.per_label.items()
        ]
        counts = zip(self.labels, self.confusion.tolist(), strict=True)
        return [
            Table("labels", ("label", *columns), rows),
            Table(
                "confusions",
                ("true \\ predicted", *self.labels),
                [[label, *row] for label, row in counts],
            ),
        ]

    @property
    def calibration(self) -> Float64[np.ndarray, "3 bins"]:
        """Return the number of texts, the mean confidence and the accuracy of each bin."""
        counts, confidence, right = self._bins
        filled = np.maximum(counts, 1)
        return np.stack([counts, confidence / filled, right / filled])

    def to_json(self) -> dict[str, Any]:
        """Add the scores of each label and the confusion matrix."""
        return {
            **super().to_json(),
            "per_label": self.per_label,
            "confusion": self.confusion.tolist(),
            "labels": list(self.labels),
        }
