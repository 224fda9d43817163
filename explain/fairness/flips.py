"""Count how often answers flip between the versions of a text for two sides of a list of words.

    flips       the share of texts whose versions are answered differently, with its exact interval
                (Clopper and Pearson 1934)
    direction   for each label, n₁ texts in which more of it is answered for the first side and n₂
                for the second: without bias each is as likely, n₁ ~ Binomial(n₁ + n₂, ½)
                (McNemar 1947, exact; the sign test where answers are numbers)
    change      the mean of (strength for the second side − for the first), with its bootstrap
                interval: log-odds of a label, a score, a number of entities

Counterfactual token fairness (Garg et al. 2019, arXiv:1809.10610), and the swaps of Zhao et al.
(2018, arXiv:1804.06876). The p of a direction is multiplied by the number of labels (Bonferroni).
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from plainformer.explain.fairness.answers import Answer
from plainformer.explain.fairness.gaps import Estimate
from plainformer.explain.intervals import bootstrap_all, proportion

KEPT = 10
"""The examples that are kept of each pair of sides: those that change most."""


@dataclass(frozen=True)
class Direction:
    """The change of one label from the first to the second side."""

    label: str
    first: int
    """Texts in which more of it is answered for the first side."""
    second: int
    p: float
    change: Estimate | None
    """The mean change of its strength; None where answers have none."""


@dataclass(frozen=True, order=True)
class Flip:
    """Two versions of one text, and the different answers to them."""

    size: float
    """The largest change of a strength."""
    source: str = field(compare=False)
    texts: tuple[str, str] = field(compare=False)
    answers: tuple[str, str] = field(compare=False)


@dataclass(frozen=True)
class Sides:
    """The comparison of two sides of a list of words."""

    first: str
    second: str
    texts: int
    flips: int | None
    """None where answers are numbers, which change without a flip."""
    share: Estimate | None
    directions: list[Direction]
    """The most one-sided first."""
    unit: str
    """The unit of the changes: log-odds, a score, a cosine, a number of tags."""
    examples: list[Flip]


@dataclass(frozen=True)
class SwapReport:
    """The result of one list of words."""

    name: str
    rows: int
    """The rows of the file."""
    texts: int
    """Those with a word of the list."""
    pairs: list[Sides]
    """The comparison of each two sides."""


@dataclass(frozen=True)
class Versions:
    """A text as it is for each side, and the answer to each."""

    source: str
    texts: tuple[str, ...]
    answers: tuple[Answer, ...]


def compare_versions(
    name: str, sides: Sequence[str], rows: int, every: Sequence[Versions], seed: int = 0
) -> SwapReport:
    """Compare each two sides by the answers to the versions of some texts."""
    pairs = [
        compare_sides((sides[a], sides[b]), every, (a, b), seed)
        for a, b in combinations(range(len(sides)), 2)
        if every
    ]
    return SwapReport(name, rows, len(every), pairs)


def compare_sides(
    names: tuple[str, str], every: Sequence[Versions], at: tuple[int, int], seed: int = 0
) -> Sides:
    """Compare two sides."""
    pairs = [(one.answers[at[0]], one.answers[at[1]]) for one in every]
    flips = None
    if any(first.key is not None for first, _ in pairs):
        flips = sum(first.key != second.key for first, second in pairs)
    share = None
    if flips is not None:
        share = Estimate(flips / len(pairs), *proportion(flips, len(pairs)))
    return Sides(
        *names,
        texts=len(pairs),
        flips=flips,
        share=share,
        directions=directions(pairs, seed),
        unit=pairs[0][0].unit,
        examples=examples_of(every, at),
    )


def directions(pairs: Sequence[tuple[Answer, Answer]], seed: int = 0) -> list[Direction]:
    """Test for each label whether more of it is answered for one side; the most one-sided first."""
    from scipy.stats import binomtest

    answers = [answer for pair in pairs for answer in pair]
    labels = sorted({label for one in answers for label in (*one.counts, *one.strengths)})
    moves = np.array([[_more(a.counts, b.counts, label) for label in labels] for a, b in pairs])
    first, second = (moves < 0).sum(0).tolist(), (moves > 0).sum(0).tolist()
    tests = sum(n > 0 for n in np.add(first, second))
    changes: list[Estimate | None] = [None] * len(labels)
    if any(one.strengths for one in answers):
        apart = [[_more(a.strengths, b.strengths, label) for label in labels] for a, b in pairs]
        table = np.array(apart, np.float64)
        ends = bootstrap_all(lambda rows: table[rows].mean(0), len(table), seed=seed)
        changes = [Estimate(float(x), *i) for x, i in zip(table.mean(0), ends, strict=True)]
    found = [
        Direction(
            label,
            first[n],
            second[n],
            min(1.0, tests * float(binomtest(first[n], first[n] + second[n]).pvalue))
            if first[n] + second[n]
            else 1.0,
            changes[n],
        )
        for n, label in enumerate(labels)
    ]
    return sorted(found, key=lambda one: (one.p, -abs(one.change.value if one.change else 0.0)))


def examples_of(every: Iterable[Versions], at: tuple[int, int]) -> list[Flip]:
    """Return the texts whose answers change most: of those that flip, where answers do."""
    found = []
    for one in every:
        first, second = (one.answers[side] for side in at)
        labels = {*first.strengths, *second.strengths}
        apart = [abs(_more(first.strengths, second.strengths, label)) for label in labels]
        if first.key != second.key or (first.key is None and any(apart)):
            texts, shown = (one.texts[at[0]], one.texts[at[1]]), (first.shown, second.shown)
            found.append(Flip(max(apart, default=0.0), one.source, texts, shown))
    return heapq.nlargest(KEPT, found)


def _more(first: Mapping[str, float], second: Mapping[str, float], label: str) -> float:
    return second.get(label, 0.0) - first.get(label, 0.0)
