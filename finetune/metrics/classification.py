"""Measure a classifier by its confusion matrix, the ranking of probabilities, and calibration.

With tp, fp, fn the right, the false and the missed of a label: precision = tp / (tp + fp),
recall = tp / (tp + fn), F1 their harmonic mean; macro averages are plain means over the labels that
occur or were predicted, weighted ones count each label by its texts. A precision of nothing
predicted is 0. All as in scikit-learn (`zero_division=0`).

Expected calibration error: the gap between how sure the model is and how often it is right, over 15
equal bins of the top probability, each counted by its texts (Guo et al. 2017, arXiv:1706.04599).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from plainformer.base import plural
from plainformer.finetune.metrics.base import Metric, Mistake, Table, share
from plainformer.finetune.metrics.roc import Ranking, mean_area
from plainformer.finetune.report.figures import calibration_figure, confusion_figure, roc_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALIBRATION_BINS = 15


@runtime_checkable
class Labelled(Protocol):
    """An example with one label."""

    @property
    def label(self) -> str | None:
        """Its label."""

    @property
    def place(self) -> str:
        """File and line."""

    @property
    def shown(self) -> str:
        """The text as a person reads it."""


@runtime_checkable
class Labelling(Protocol):
    """A prediction of one label."""

    @property
    def label(self) -> str:
        """The label."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Of every label."""


class ClassMetric(Metric[Labelled, Labelling]):
    """Accuracy, precision, recall, F1, AUC and calibration of one label a text."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self._numbers = {label: number for number, label in enumerate(labels)}
        self.confusion: Int64[np.ndarray, "labels labels"] = np.zeros(
            (len(labels), len(labels)), np.int64
        )
        """[i, j]: how many texts of label i were taken for label j"""
        self.ranking = Ranking(len(labels))
        self._bins = np.zeros((3, CALIBRATION_BINS))  # texts, their confidence, those right

    def add(self, example: Labelled, prediction: Labelling) -> None:
        """Count one text."""
        assert example.label is not None
        true, predicted = self._numbers[example.label], self._numbers[prediction.label]
        probabilities = np.array([prediction.probabilities[label] for label in self.labels])
        self.count += 1
        self.confusion[true, predicted] += 1
        self.ranking.add(np.arange(len(self.labels)) == true, probabilities)
        confidence = float(probabilities[predicted])
        bin_ = min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
        self._bins[:, bin_] += (1, confidence, true == predicted)
        if true != predicted:
            self.mistaken(
                Mistake(confidence, example.place, example.shown, example.label, prediction.label)
            )

    def never_predicted(self) -> list[str]:
        """List the labels that occur and were never predicted."""
        support, taken = self.confusion.sum(1), self.confusion.sum(0)
        return [self.labels[i] for i in np.flatnonzero((support > 0) & (taken == 0))]

    @property
    def accuracy(self) -> float:
        """Share of the texts that got their label."""
        return share(int(self.confusion.trace()), int(self.confusion.sum()))

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and number of texts of each label; 0 where nothing is to count."""
        right = self.confusion.diagonal().tolist()
        support, taken = self.confusion.sum(1).tolist(), self.confusion.sum(0).tolist()
        areas = self.ranking.areas().tolist()
        return {
            label: {
                "precision": share(right[i], taken[i]),
                "recall": share(right[i], support[i]),
                "f1": share(2 * right[i], support[i] + taken[i]),
                "auc": areas[i],
                "support": support[i],
            }
            for i, label in enumerate(self.labels)
        }

    def average(self, name: str, weighted: bool = False) -> float:
        """Mean precision, recall or F1 of the labels that occur, or were predicted."""
        support = self.confusion.sum(1)
        seen = (support + self.confusion.sum(0)) > 0
        values = np.array([row[name] for row in self.per_label.values()])
        weights = support if weighted else seen.astype(np.int64)
        return share(float((values * weights).sum()), float(weights.sum()))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur, or were predicted."""
        return self.average("f1")

    @property
    def calibration_error(self) -> float:
        """The mean gap between how probable answers are said to be and how often they are right."""
        counts, confidence, right = self._bins
        return share(float(np.abs(confidence - right).sum()), float(counts.sum()))

    def scores(self) -> dict[str, float]:
        """Accuracy first."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "macro_precision": self.average("precision"),
            "macro_recall": self.average("recall"),
            "weighted_f1": self.average("f1", weighted=True),
            "macro_auc": mean_area(self.ranking.areas()),
            "calibration_error": self.calibration_error,
        }

    def tables(self) -> list[Table]:
        """The scores of each label, and the confusions."""
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

    def figures(self) -> dict[str, "Figure"]:
        """Confusion matrix, ROC curves, calibration."""
        counts, confidence, right = self._bins
        filled = np.maximum(counts, 1)
        title = f"accuracy {self.accuracy:.1%}, {plural(self.count, 'text')}"
        curves = {label: self.ranking.curve(i) for i, label in enumerate(self.labels)}
        areas = dict(zip(self.labels, self.ranking.areas().tolist(), strict=True))
        return {
            "confusion": confusion_figure(self.labels, self.confusion, title),
            "roc": roc_figure(curves, areas),
            "calibration": calibration_figure(
                confidence / filled,
                right / filled,
                counts.astype(np.int64),
                self.calibration_error,
            ),
        }

    def to_json(self) -> dict[str, Any]:
        """All of it, for `metrics.json`."""
        return {
            **super().to_json(),
            "per_label": self.per_label,
            "confusion": self.confusion.tolist(),
            "labels": list(self.labels),
        }
