"""Measure relation extraction by micro F1 over all labels except the "no relation" label.

    precision = right / found,  recall = right / there;   found and there are relations alone

as TACRED's scorer counts (Zhang et al. 2017, https://aclanthology.org/D17-1004). A pair without a
relation that is given one lowers the precision; one that is left without adds nothing. Where no
relation was found the precision is 1, as in that scorer (recall and F1 are 0).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from plainformer.finetune.metrics.base import Table, share
from plainformer.finetune.metrics.classification import ClassMetric


class RelationMetric(ClassMetric):
    """A classifier's figures, and micro F1 over the labels but `negative`."""

    def __init__(self, labels: Sequence[str], negative: str | None) -> None:
        super().__init__(labels)
        self.negative = negative
        self._positive = np.array([label != negative for label in labels])

    def scores(self) -> dict[str, float]:
        """Micro F1 first."""
        right = int(self.confusion.diagonal()[self._positive].sum())
        there = int(self.confusion[self._positive].sum())
        found = int(self.confusion[:, self._positive].sum())
        return {
            "micro_f1": share(2 * right, there + found),
            "micro_precision": share(right, found) if found else 1.0,
            "micro_recall": share(right, there),
            **super().scores(),
        }

    def tables(self) -> list[Table]:
        """Of each label; that of no relation says so."""
        first, *others = super().tables()
        rows = [
            [f"{label} (no relation)" if label == self.negative else label, *row]
            for label, *row in first.rows
        ]
        return [Table(first.title, first.columns, rows), *others]

    def to_json(self) -> dict[str, Any]:
        """All of it; `negative` is the label that the micro figures leave out."""
        return {**super().to_json(), "negative": self.negative}
