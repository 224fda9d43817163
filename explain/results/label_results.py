"""Score labels by their counts: true positives, false positives and false negatives, over rows.

    selected = (tp + fp) / n        recall = tp / (tp + fn)        false alarms = fp / (n − tp − fn)

These are the rates of one label against all others. Selected is what demographic parity compares
(Dwork et al. 2012, arXiv:1104.3913), the other two what equalised odds do (Hardt et al. 2016,
arXiv:1610.02413). A label is an entity's type where entities are tagged; they have a recall only.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from plainformer.explain.results.results import Measure, Results, Rows, Values
from plainformer.finetune.data.example import known
from plainformer.finetune.tasks.tagging.iob import spans

SELECTED, RECALL, FALSE_ALARMS = "selected", "recall", "false alarms"
Names = Iterable[str]
Scores = dict[str, tuple[float, float]]
"""A score and its denominator, by name."""
Tally = Int64[np.ndarray, "3 labels"]
"""True positives, false positives and false negatives of each label."""
Score = Callable[[tuple[str, ...], Tally, int, int, bool], Scores]
"""Labels, their counts, how many rows are right in all labels, how many rows there are, and whether
they are as many as were added -> the scores."""


class LabelResults(Results):
    """Scores of labels: they are functions of three counts of each label, summed over rows."""

    def __init__(
        self,
        labels: Names,
        read: Callable[[Any, Any], tuple[Names, Names, Names]],
        scores: Score,
        rates: tuple[str, ...] = (SELECTED, RECALL, FALSE_ALARMS),
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        """Those of the task; where it has none, those that occur or were predicted."""
        self._read, self._scores, self._rates = read, scores, rates
        self._counted: list[tuple[int, int, str, int]] = []  # row, kind, label, count
        self._exact: list[bool] = []

    def add(self, example: Any, prediction: Any) -> None:
        """Count the labels that are right, wrong and missed."""
        kinds = [Counter(names) for names in self._read(example, prediction)]
        for kind, counts in enumerate(kinds):
            self._counted += [(self.count, kind, name, n) for name, n in counts.items()]
        self._exact.append(not any(kinds[1:]))
        self.count += 1

    def finish(self) -> None:
        """Write what was counted as arrays of rows, cells and counts: most counts are 0."""
        seen = {name for _, _, name, _ in self._counted}
        self.labels = self.labels or tuple(sorted(seen))
        size, numbers = len(self.labels), {name: n for n, name in enumerate(self.labels)}
        counted = [(row, kind * size + numbers[name], n) for row, kind, name, n in self._counted]
        self._rows, self._cells, self._counts = np.array(counted, np.int64).reshape(-1, 3).T
        self._is_exact: Bool[np.ndarray, " rows"] = np.array(self._exact, bool)
        self._counted = []
        names = self._scores(self.labels, self._tally(np.arange(0)), 0, 0, False)
        self.measures = (
            *(Measure(name, better=1) for name in names),
            *(
                Measure(rate, label, better={RECALL: 1, FALSE_ALARMS: -1}.get(rate, 0))
                for rate in self._rates
                for label in self.labels
            ),
        )

    def values(self, rows: Rows) -> tuple[Values, Values]:
        """Compute the scores, then each rate of each label."""
        tally = self._tally(rows)
        exact = int(np.count_nonzero(self._is_exact[rows]))
        scores = self._scores(self.labels, tally, exact, len(rows), len(rows) == self.count)
        columns = zip(*scores.values(), strict=True)
        values, wholes = (np.array(column, np.float64) for column in columns)
        right, wrong, missed = tally
        true, said = right + missed, right + wrong
        rates = {
            SELECTED: (said, np.full(len(true), len(rows))),
            RECALL: (right, true),
            FALSE_ALARMS: (wrong, len(rows) - true),
        }
        for name in self._rates:
            part, whole = rates[name]
            values = np.append(values, np.where(whole > 0, part / np.maximum(whole, 1), np.nan))
            wholes = np.append(wholes, whole)
        return values, wholes

    def _tally(self, rows: Rows) -> Tally:
        """Add up the counts of some rows, each as often as it is among them."""
        times = np.bincount(rows, minlength=self.count)[self._rows]
        size = 3 * len(self.labels)
        sums = np.bincount(self._cells, times * self._counts, minlength=size)
        tally: Tally = sums.astype(np.int64).reshape(3, -1)
        return tally


def of_label(example: Any, prediction: Any) -> tuple[Names, Names, Names]:
    """Return the right, the wrong and the missed label of one label."""
    true, said = known(example.label), prediction.label
    return ([true], [], []) if true == said else ([], [said], [true])


def of_labels(example: Any, prediction: Any) -> tuple[Names, Names, Names]:
    """Return the right, the wrong and the missed labels of several."""
    true, said = {*known(example.labels)}, {*prediction.labels}
    return true & said, said - true, true - said


def of_entities(example: Any, prediction: Any) -> tuple[Names, Names, Names]:
    """Return the types of the right, the wrong and the missed entities."""
    true, said = {*spans(known(example.tags))}, {*spans(prediction.tags)}
    right, wrong, missed = (true & said, said - true, true - said)
    return [s.type for s in right], [s.type for s in wrong], [s.type for s in missed]


def of_tags(example: Any, prediction: Any) -> tuple[Names, Names, Names]:
    """Return the right tags, those predicted in place of others, and those missed."""
    pairs = [*zip(known(example.tags), prediction.tags, strict=True)]
    wrong = [(true, said) for true, said in pairs if true != said]
    right = [true for true, said in pairs if true == said]
    return right, [said for _, said in wrong if said], [true for true, _ in wrong]


def _f1(tally: Tally) -> Float64[np.ndarray, " labels"]:
    right, wrong, missed = tally
    f1: Float64[np.ndarray, " labels"] = 2 * right / np.maximum(2 * right + wrong + missed, 1)
    return f1


def _macro_f1(tally: Tally) -> float:
    """Average F1 over the labels that occur or were predicted."""
    seen = tally.sum(0) > 0
    return float(_f1(tally)[seen].mean()) if seen.any() else float("nan")


def _part(part: float, whole: float) -> tuple[float, float]:
    return (part / whole if whole else float("nan")), whole


def class_scores(
    labels: tuple[str, ...], tally: Tally, exact: int, rows: int, whole: bool
) -> Scores:
    """Compute accuracy and macro F1, as `ClassMetric` does."""
    right, _, missed = tally.sum(1).tolist()
    accuracy = _part(right, right + missed)
    return {"accuracy": accuracy, "macro_f1": (_macro_f1(tally), accuracy[1])}


def relation_scores(negative: str | None) -> Score:
    """Return the scores of relations, as `RelationMetric` computes them."""

    def compute(
        labels: tuple[str, ...], tally: Tally, exact: int, rows: int, whole: bool
    ) -> Scores:
        """Compute micro F1 over the relations, then the scores of a classifier."""
        kept = np.array([label != negative for label in labels])
        right, wrong, missed = tally[:, kept].sum(1).tolist()
        micro = _part(2 * right, 2 * right + wrong + missed)[0], float(rows)
        return {"micro_f1": micro, **class_scores(labels, tally, exact, rows, whole)}

    return compute


def multi_label_scores(
    labels: tuple[str, ...], tally: Tally, exact: int, rows: int, whole: bool
) -> Scores:
    """Compute F1 over all decisions and exact matches, as `LabelsMetric` does.

    Of a part of the rows, macro F1 is over the labels that occur in it or were predicted: a group
    that does not have a label is not worse for that.
    """
    right, wrong, missed = tally.sum(1).tolist()
    return {
        "micro_f1": (_part(2 * right, 2 * right + wrong + missed)[0], rows),
        "macro_f1": (float(_f1(tally).mean()) if whole else _macro_f1(tally), rows),
        "exact_match": _part(exact, rows),
    }


def entity_scores(
    labels: tuple[str, ...], tally: Tally, exact: int, rows: int, whole: bool
) -> Scores:
    """Compute F1, precision and recall over all entities, as `EntityMetric` does."""
    right, wrong, missed = tally.sum(1).tolist()
    return {
        "f1": (_part(2 * right, 2 * right + wrong + missed)[0], rows),
        "precision": (_part(right, right + wrong)[0], rows),
        "recall": _part(right, right + missed),
    }
