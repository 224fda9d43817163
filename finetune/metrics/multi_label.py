"""Measure multi-label predictions; each label counts as a decision of its own.

With tp, fp, fn the right, the false and the missed of a label: F1 = 2 tp / (2 tp + fp + fn), and 0
where nothing is to count; micro averages add the counts of all labels up first, macro averages are
plain means over the labels. An exact match has all labels and no other. All as in scikit-learn
(`zero_division=0`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from plainformer.finetune.metrics.base import Metric, Mistake, Table, share
from plainformer.finetune.metrics.roc import Ranking, mean_area
from plainformer.finetune.report.figures import roc_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("precision", "recall", "f1", "auc", "support")
NO_LABEL = "–"


@runtime_checkable
class ManyLabelled(Protocol):
    """An example with any number of labels."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Its labels."""

    @property
    def place(self) -> str:
        """File and line."""

    @property
    def shown(self) -> str:
        """The text as a person reads it."""


@runtime_checkable
class ManyLabelling(Protocol):
    """A prediction of any number of labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Of every label."""


class LabelsMetric(Metric[ManyLabelled, ManyLabelling]):
    """F1 over all decisions and of each label, AUC, exact matches."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.counts: Int64[np.ndarray, "3 labels"] = np.zeros((3, len(labels)), np.int64)
        """texts of which a label was said rightly, falsely, and missed"""
        self.exact = 0
        """texts of which all labels are right"""
        self.ranking = Ranking(len(labels))

    def add(self, example: ManyLabelled, prediction: ManyLabelling) -> None:
        """Count one text."""
        assert example.labels is not None
        true = np.array([label in example.labels for label in self.labels])
        said = np.array([label in prediction.labels for label in self.labels])
        probabilities = np.array([prediction.probabilities[label] for label in self.labels])
        self.count += 1
        self.counts += (true & said, ~true & said, true & ~said)
        self.ranking.add(true, probabilities)
        wrong = true != said
        if not wrong.any():
            self.exact += 1
            return
        confidence = np.where(said, probabilities, 1 - probabilities)[wrong].max()
        texts = (", ".join(labels) or NO_LABEL for labels in (example.labels, prediction.labels))
        self.mistaken(Mistake(float(confidence), example.place, example.shown, *texts))

    def never_predicted(self) -> list[str]:
        """List the labels that occur and were never predicted."""
        right, false, missed = self.counts
        return [self.labels[i] for i in np.flatnonzero((missed > 0) & (right + false == 0))]

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1, AUC and number of texts of each label."""
        areas = self.ranking.areas().tolist()
        return {
            label: {**_rates(*counts), "auc": area, "support": counts[0] + counts[2]}
            for label, counts, area in zip(self.labels, self.counts.T.tolist(), areas, strict=True)
        }

    def scores(self) -> dict[str, float]:
        """Micro F1 first."""
        micro = _rates(*self.counts.sum(1).tolist())
        per_label = self.per_label.values()
        macro = {name: share(sum(row[name] for row in per_label), len(per_label)) for name in micro}
        return {
            "micro_f1": micro["f1"],
            "macro_f1": macro["f1"],
            "micro_precision": micro["precision"],
            "micro_recall": micro["recall"],
            "macro_precision": macro["precision"],
            "macro_recall": macro["recall"],
            "macro_auc": mean_area(self.ranking.areas()),
            "exact_match": share(self.exact, self.count),
        }

    def tables(self) -> list[Table]:
        """The scores of each label."""
        rows: list[list[str | float]] = [
            [label, *(row[column] for column in COLUMNS)] for label, row in self.per_label.items()
        ]
        return [Table("labels", ("label", *COLUMNS), rows)]

    def figures(self) -> dict[str, "Figure"]:
        """ROC curves."""
        curves = {label: self.ranking.curve(i) for i, label in enumerate(self.labels)}
        areas = dict(zip(self.labels, self.ranking.areas().tolist(), strict=True))
        return {"roc": roc_figure(curves, areas)}

    def to_json(self) -> dict[str, Any]:
        """All of it, for `metrics.json`."""
        return {**super().to_json(), "per_label": self.per_label, "labels": list(self.labels)}


def _rates(right: int, false: int, missed: int) -> dict[str, float]:
    return {
        "precision": share(right, right + false),
        "recall": share(right, right + missed),
        "f1": share(2 * right, 2 * right + false + missed),
    }
