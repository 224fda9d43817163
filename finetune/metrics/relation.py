"""Measure relation extraction by micro F1 over all labels except the "no relation" label.

    precision = right / predicted relations,    recall = right / true relations

as TACRED's scorer counts (Zhang et al. 2017, https://aclanthology.org/D17-1004). A relation
predicted for a pair without one lowers the precision; "no relation" predicted for it counts
nowhere. Where no relation is predicted, the precision is 1, as in that scorer; recall and F1 are 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from plainformer.finetune.metrics.base import Table, ratio
from plainformer.finetune.metrics.classification import ClassMetric


class RelationMetric(ClassMetric):
    """The scores of a classifier, and micro F1 over the labels except `negative`."""

    def __init__(self, labels: Sequence[str], negative: str | None) -> None:
        super().__init__(labels)
        self.negative = negative
        self._positive = np.array([label != negative for label in labels])

    def scores(self) -> dict[str, float]:
        """Compute micro F1 first, and the scores of a classifier."""
        right = int(self.confusion.diagonal()[self._positive].sum())
        there = int(self.confusion[self._positive].sum())
        found = int(self.confusion[:, self._positive].sum())
        return {
            "micro_f1": ratio(2 * right, there + found),
            "micro_precision": ratio(right, found) if found else 1.0,
            "micro_recall": ratio(right, there),
            **super().scores(),
        }

    def tables(self) -> list[Table]:
        """Return the tables of a classifier, with the "no relation" label marked."""
        first, *others = super().tables()
        rows = [
            [f"{label} (no relation)" if label == self.negative else label, *row]
            for label, *row in first.rows
        ]
        return [Table(first.title, first.columns, rows), *others]

    def to_json(self) -> dict[str, Any]:
        """Add `negative`, the label that the micro averages leave out."""
        return {**super().to_json(), "negative": self.negative}
