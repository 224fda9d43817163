"""Measure multi-label predictions; each label of a text counts as one decision.

With tp, fp, fn the true positives, false positives and false negatives of a label: F1 =
2 tp / (2 tp + fp + fn), and 0 / 0 is 0. Micro averages are computed from the counts summed over the
labels, macro averages are plain means over the labels. An exact match predicts all labels of a text
and no other. All as in scikit-learn (`zero_division=0`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from plainformer.finetune.metrics.base import Metric, Mistake, Table, ratio
from plainformer.finetune.metrics.roc import StreamingROC, mean_area

COLUMNS = ("precision", "recall", "f1", "auc", "support")
NO_LABEL = "–"


class LabelsMetric(Metric):
    """F1 over all decisions and of each label, AUC and exact matches."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.counts: Int64[np.ndarray, "3 labels"] = np.zeros((3, len(labels)), np.int64)
        """True positives, false positives and false negatives of each label."""
        self.exact = 0
        """Number of texts with an exact match."""
        self.roc = StreamingROC(len(labels))

    def add(
        self,
        true: Sequence[str],
        predicted: Sequence[str],
        probabilities: Mapping[str, float],
        source: str = "",
        text: str = "",
    ) -> None:
        """Add one text: its true and its predicted labels, and the probability of each label."""
        is_true, is_predicted = (
            np.array([label in given for label in self.labels]) for given in (true, predicted)
        )
        p = np.array([probabilities[label] for label in self.labels])
        self.count += 1
        self.counts += (is_true & is_predicted, ~is_true & is_predicted, is_true & ~is_predicted)
        self.roc.add(is_true, p)
        wrong = is_true != is_predicted
        if not wrong.any():
            self.exact += 1
            return
        confidence = np.where(is_predicted, p, 1 - p)[wrong].max()
        names = (", ".join(labels) or NO_LABEL for labels in (true, predicted))
        self.add_mistake(Mistake(float(confidence), source, text, *names))

    def never_predicted(self) -> list[str]:
        """List the labels that occur but were never predicted."""
        right, false, missed = self.counts
        return [self.labels[i] for i in np.flatnonzero((missed > 0) & (right + false == 0))]

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Compute precision, recall, F1, AUC and number of texts of each label."""
        areas = self.roc.areas().tolist()
        return {
            label: {**_rates(*counts), "auc": area, "support": counts[0] + counts[2]}
            for label, counts, area in zip(self.labels, self.counts.T.tolist(), areas, strict=True)
        }

    def scores(self) -> dict[str, float]:
        """Compute the scores over all labels, micro F1 first."""
        micro = _rates(*self.counts.sum(1).tolist())
        per_label = self.per_label.values()
        macro = {name: ratio(sum(row[name] for row in per_label), len(per_label)) for name in micro}
        return {
            "micro_f1": micro["f1"],
            "macro_f1": macro["f1"],
            "micro_precision": micro["precision"],
            "micro_recall": micro["recall"],
            "macro_precision": macro["precision"],
            "macro_recall": macro["recall"],
            "macro_auc": mean_area(self.roc.areas()),
            "exact_match": ratio(self.exact, self.count),
        }

    def tables(self) -> list[Table]:
        """Return the scores of each label."""
        rows: list[list[str | float]] = [
            [label, *(row[column] for column in COLUMNS)] for label, row in self.per_label.items()
        ]
        return [Table("labels", ("label", *COLUMNS), rows)]

    def to_json(self) -> dict[str, Any]:
        """Add the scores of each label."""
        return {**super().to_json(), "per_label": self.per_label, "labels": list(self.labels)}


def _rates(right: int, false: int, missed: int) -> dict[str, float]:
    return {
        "precision": ratio(right, right + false),
        "recall": ratio(right, right + missed),
        "f1": ratio(2 * right, 2 * right + false + missed),
    }
