"""Report a calibration on rows that it was not fitted to: as tables and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from plainformer.base import plural
from plainformer.explain.confidence.answered import Answered
from plainformer.explain.confidence.conformal import expected_coverage
from plainformer.explain.confidence.measures import Measures, brier_scores, log_losses
from plainformer.explain.intervals import Interval, bootstrap, proportion
from plainformer.finetune import Table
from plainformer.finetune.calibration import Calibration

NAMES = {
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece_width": "ECE, bins of equal width",
    "ece_mass": "ECE, bins of equal counts",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class Scaling:
    """The measures of the probabilities before and after the temperature."""

    before: Measures
    after: Measures
    changes: dict[str, Interval]
    """The intervals of the changes, of those measures that are means."""

    @classmethod
    def of(cls, answered: Answered, temperature: float) -> "Scaling":
        """Measure probabilities before and after, and resample the examples."""
        truth, owners = answered.truth, answered.owners
        before, after = answered.probabilities(1.0), answered.probabilities(temperature)
        count = len(answered.examples)
        weights = np.bincount(owners, minlength=count)
        changes = {}
        for name, losses in (("nll", log_losses), ("brier", brier_scores)):
            sums = np.bincount(owners, losses(after, truth) - losses(before, truth), count)

            def change(rows: Any, sums: Any = sums) -> float:
                """Compute the mean change over the questions of some examples."""
                asked = weights[rows].sum()
                return float(sums[rows].sum() / asked) if asked else math.nan

            changes[name] = bootstrap(change, count)
        return cls(Measures.of(before, truth), Measures.of(after, truth), changes)

    def table(self, title: str) -> Table:
        """Tabulate the measures."""
        rows = []
        for name, shown in NAMES.items():
            before, after = getattr(self.before, name), getattr(self.after, name)
            change = f"{after - before:+.4f}"
            if name in self.changes:
                low, high = self.changes[name]
                change += f" [{low:+.4f}, {high:+.4f}]"
            rows.append((shown, f"{before:.4f}", f"{after:.4f}", change))
        return Table(title, ("measure", "before", "after", "change [95 %]"), rows)


@dataclass(frozen=True)
class Coverage:
    """The coverage of sets or intervals: the share that holds the true answer."""

    wanted: float
    measured: float
    interval: Interval
    """The exact interval of what was measured."""
    expected: Interval
    """The range of 95 % of all measurements, if the examples are drawn alike."""
    size: float
    """The mean number of answers in a set, or the width of an interval."""
    empty: float | None
    """The share of empty sets; None for intervals."""

    @classmethod
    def of(
        cls, examples: Sequence[Any], predictions: Sequence[Any], wanted: float, count: int
    ) -> "Coverage":
        """Measure predictions with sets that were chosen by `count` calibration examples."""
        pairs = list(zip(examples, predictions, strict=True))
        is_number = hasattr(predictions[0], "interval")
        if is_number:
            held = [found.interval[0] <= e.score <= found.interval[1] for e, found in pairs]
            sizes = [found.interval[1] - found.interval[0] for found in predictions]
        else:
            held = [true_answer(example) in found.set for example, found in pairs]
            sizes = [len(found.set) for found in predictions]
        return cls(
            wanted=wanted,
            measured=float(np.mean(held)),
            interval=proportion(sum(held), len(held)),
            expected=expected_coverage(count, wanted, len(held)),
            size=float(np.mean(sizes)),
            empty=None if is_number else float(np.mean([size == 0 for size in sizes])),
        )

    def table(self) -> Table:
        """Tabulate the coverage."""
        rows = [
            ("coverage that was asked for", f"{self.wanted:.3f}"),
            ("coverage measured [95 %]", f"{self.measured:.3f} {shown(self.interval)}"),
            ("where 95 % of measurements are expected", shown(self.expected)),
            ("mean size" if self.empty is not None else "width", f"{self.size:.3f}"),
            *([] if self.empty is None else [("share of empty sets", f"{self.empty:.3f}")]),
        ]
        return Table("sets", ("sets" if self.empty is not None else "intervals", ""), rows)


@dataclass(frozen=True)
class Abstaining:
    """The error among the answered rows."""

    risk: float
    answered: float
    """The share of examples that are answered."""
    error: float
    interval: Interval
    """The exact interval of the error among the answered."""
    error_of_all: float

    @classmethod
    def of(cls, predictions: Sequence[Any], right: Any, risk: float) -> "Abstaining":
        """Measure predictions that may abstain."""
        answers = ~np.array([prediction.abstained for prediction in predictions], bool)
        errors, count = int((answers & ~right).sum()), int(answers.sum())
        return cls(
            risk=risk,
            answered=float(answers.mean()),
            error=errors / count if count else math.nan,
            interval=proportion(errors, count),
            error_of_all=float((~right).mean()),
        )

    def table(self) -> Table:
        """Tabulate the errors."""
        rows = [
            ("error that was allowed", f"{self.risk:.3f}"),
            ("error among the answered [95 %]", f"{self.error:.3f} {shown(self.interval)}"),
            ("error of all", f"{self.error_of_all:.3f}"),
            ("share answered", f"{self.answered:.3f}"),
        ]
        return Table("abstaining", ("abstaining", ""), rows)


@dataclass(frozen=True)
class Report:
    """A calibration, and what it is worth on other rows."""

    task: str
    calibration: Calibration
    rows: dict[str, int]
    """The use of the rows: "fit the temperature", "measure", … -> the number of rows."""
    scaling: Scaling | None
    coverage: Coverage | None
    abstaining: Abstaining | None
    warnings: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """Return a table for each thing that was calibrated."""
        found = [] if self.scaling is None else [self.scaling.table("temperature")]
        return [*found, *(part.table() for part in (self.coverage, self.abstaining) if part)]

    def to_json(self) -> dict[str, Any]:
        """Return all as a JSON object."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Say which rows served for what."""
        parts = [f"{plural(count, 'row')} {what}" for what, count in self.rows.items()]
        return "; ".join(parts)


def true_answer(example: Any) -> str:
    """Return the true answer as it stands in a set: a label or an option."""
    answer: str = example.options[example.right] if hasattr(example, "right") else example.label
    return answer


def shown(interval: Interval) -> str:
    """Format an interval."""
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
