"""Compare groups: the value of each measure in each group, and how far apart the groups are.

    difference(m) = max_g m(g) − min_g m(g)          ratio(m) = min_g m(g) / max_g m(g)

    demographic parity of a label     m is its selection rate          (Dwork et al. 2012,
                                                                        arXiv:1104.3913)
    equalised odds of a label         the larger difference, and the smaller ratio, of its recall
                                      and its false alarms             (Hardt et al. 2016,
                                                                        arXiv:1610.02413)

Intervals are those of the bootstrap over all rows, in which groups keep their rows; that of a
difference is of the two groups that are farthest apart in the rows given, so it may reach below 0.
Of many groups two are always far apart: whether that is more than chance is said by `chance`, the
share of 1,000 random permutations of the rows' groups whose difference is as large. Of many labels,
too, one is always far apart: the chance of a label's difference is the share of permutations in
which the largest difference of any label is as large (Westfall & Young 1993).

A value whose denominator in a group has fewer than `smallest` rows is left out, with its group, of
the differences: a recall of two texts says nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from plainformer.explain.intervals import bootstrap_all
from plainformer.explain.results import Measure, Results
from plainformer.explain.results.label_results import FALSE_ALARMS, RECALL, SELECTED

SAMPLES = 1000
TOLERANCE = 1e-12
"""The difference up to which two values count as equal."""
PARITY, ODDS = "demographic parity", "equalised odds"

Table = Float64[np.ndarray, "groups measures"]
Numbers = Int64[np.ndarray, " rows"]


class Pair(NamedTuple):
    """The columns of the measures of a gap: of one, or of two, whose larger gap counts."""

    name: str
    label: str | None
    first: int
    second: int


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """The difference and the ratio of the lowest and the highest group in a measure."""

    name: str
    label: str | None
    difference: Estimate
    ratio: float
    """NaN where it has no meaning: 0 / 0, or a value below 0."""
    lowest: str
    """The group with the lowest value."""
    highest: str
    chance: float
    """The share of random groupings of the same sizes with a difference at least as large: of a
    label, in any label."""


@dataclass(frozen=True)
class Compared:
    """The measures of some groups, of all rows together, and the gaps."""

    measures: tuple[Measure, ...]
    groups: dict[str, list[Estimate]]
    """For each group an estimate of each measure; NaN where it is undefined or of too few rows."""
    whole: list[Estimate]
    gaps: list[Gap]

    @property
    def worst(self) -> str | None:
        """Return the group with the worst first score; None where no group has one."""
        sign = self.measures[0].better
        scores = {group: sign * found[0].value for group, found in self.groups.items()}
        known = {group: score for group, score in scores.items() if not np.isnan(score)}
        return min(known, key=known.__getitem__, default=None)


def compare(
    results: Results,
    groups: Sequence[str],
    of_rows: Numbers,
    smallest: int = 1,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Compared:
    """Compare the groups of some rows: `of_rows` is the number of each row's group, −1 for none.

    `advance` is called with 1 after each of the 2 · `SAMPLES` samples.
    """
    gaps, every = gaps_of(results.measures), np.arange(results.count)
    counts = [results.values(np.flatnonzero(of_rows == g))[1] for g in range(len(groups))]
    is_shown = np.stack(counts) >= smallest

    def table(rows: Numbers, numbers: Numbers) -> Table:
        """Compute the measures of each group of some rows."""
        found = [results.values(rows[numbers == group])[0] for group in range(len(groups))]
        return np.where(is_shown, np.stack(found), np.nan)

    def statistics(rows: Numbers) -> Float64[np.ndarray, " statistics"]:
        """Compute the measures of each group and of all rows, and the differences."""
        advance(1)
        values = table(rows, of_rows[rows])
        apart = values[highest, columns] - values[lowest, columns]
        return np.concatenate([values.ravel(), results.values(rows)[0], apart])

    def permuted(generator: np.random.Generator) -> Float64[np.ndarray, " gaps"]:
        """Compute the differences of random groups of the same sizes."""
        advance(1)
        numbers, inside = of_rows.copy(), of_rows >= 0
        numbers[inside] = generator.permutation(of_rows[inside])
        return differences(table(every, numbers), gaps)

    values = table(every, of_rows)
    columns, lowest, highest = farthest(values, gaps)
    found = differences(values, gaps)
    points = np.concatenate([values.ravel(), results.values(every)[0], found])
    intervals = bootstrap_all(statistics, results.count, SAMPLES, seed)
    estimates = [Estimate(float(x), *ends) for x, ends in zip(points, intervals, strict=True)]
    generator = np.random.default_rng(seed)
    random = with_largest(np.stack([permuted(generator) for _ in range(SAMPLES)]), gaps)
    at_least = (~(random < found - TOLERANCE)).sum(0)  # NaN counts as large
    chances = np.where(np.isnan(found), np.nan, (1 + at_least) / (1 + SAMPLES))
    width = len(results.measures)
    parts = [estimates[start : start + width] for start in range(0, len(estimates), width)]
    return Compared(
        measures=results.measures,
        groups=dict(zip(groups, parts, strict=False)),
        whole=parts[len(groups)],
        gaps=[
            Gap(
                name=gap.name,
                label=gap.label,
                difference=estimates[n - len(gaps)],
                ratio=min_ratio(values, gap),
                lowest=groups[lowest[n]],
                highest=groups[highest[n]],
                chance=float(chances[n]),
            )
            for n, gap in enumerate(gaps)
        ],
    )


def gaps_of(measures: Sequence[Measure]) -> list[Pair]:
    """List the gaps of all scores, then of the labels."""
    at = {(one.name, one.label): column for column, one in enumerate(measures)}
    found = [Pair(one.name, None, n, n) for n, one in enumerate(measures) if one.label is None]
    for label in dict.fromkeys(one.label for one in measures if one.label is not None):
        recall = at[RECALL, label]
        if (SELECTED, label) in at:
            selected, false = at[SELECTED, label], at[FALSE_ALARMS, label]
            found += [Pair(PARITY, label, selected, selected), Pair(ODDS, label, recall, false)]
        else:
            found.append(Pair(RECALL, label, recall, recall))
    return found


def differences(values: Table, gaps: Sequence[Pair]) -> Float64[np.ndarray, " gaps"]:
    """Compute the difference of each gap; NaN where no two groups have a value."""
    apart = _apart(values)
    first, second = np.array([(gap.first, gap.second) for gap in gaps]).T
    larger: Float64[np.ndarray, " gaps"] = np.fmax(apart[first], apart[second])
    return larger


def with_largest(
    apart: Float64[np.ndarray, "samples gaps"], gaps: Sequence[Pair]
) -> Float64[np.ndarray, "samples gaps"]:
    """Replace the differences of labels by the largest of any label, for each kind of gap."""
    found = apart.copy()
    for name in {gap.name for gap in gaps if gap.label is not None}:
        some = [n for n, gap in enumerate(gaps) if gap.name == name and gap.label is not None]
        found[:, some] = np.fmax.reduce(apart[:, some], axis=1, keepdims=True)
    return found


def farthest(values: Table, gaps: Sequence[Pair]) -> tuple[Numbers, Numbers, Numbers]:
    """Return the column of each gap's difference, and its groups with the lowest and highest value.

    Where no two groups have a value they are the first column and group.
    """
    apart = np.nan_to_num(_apart(values), nan=-1.0)
    columns = np.array([max(gap.first, gap.second, key=apart.__getitem__) for gap in gaps])
    known = ~np.isnan(values)
    lowest = np.where(known, values, np.inf).argmin(0)
    highest = np.where(known, values, -np.inf).argmax(0)
    return columns, lowest[columns], highest[columns]


def _apart(values: Table) -> Float64[np.ndarray, " measures"]:
    """Compute the difference of each measure; NaN where no two groups have a value."""
    known = ~np.isnan(values)
    highest = np.where(known, values, -np.inf).max(0)
    lowest = np.where(known, values, np.inf).min(0)
    apart: Float64[np.ndarray, " measures"] = np.full(values.shape[1], np.nan)
    np.subtract(highest, lowest, out=apart, where=known.sum(0) > 1)
    return apart


def min_ratio(values: Table, gap: Pair) -> float:
    """Compute the smaller ratio of the lowest to the highest value; NaN where it has no meaning."""
    found = []
    for column in (gap.first, gap.second):
        known = values[~np.isnan(values[:, column]), column]
        if len(known) > 1 and known.min() >= 0 and known.max() > 0:
            found.append(float(known.min() / known.max()))
    return min(found, default=float("nan"))
