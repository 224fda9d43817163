"""Write what was found as sentences and tables, for the terminal and for the page."""

from collections.abc import Sequence

from plainformer.base import plural
from plainformer.explain.fairness.flips import Direction, Sides, SwapReport
from plainformer.explain.fairness.gaps import Compared, Estimate, Gap
from plainformer.explain.fairness.measure import GroupReport
from plainformer.finetune.metrics.base import Table, spoken

DASH = "–"
SHOWN_GROUPS = 12
"""The most groups that are too small and listed all the same."""


def group_sentences(report: GroupReport) -> list[str]:
    """Say which rows were compared, which group is worst, and what the intervals are."""
    groups, compared = report.groups, report.compared
    first = compared.measures[0].name
    worst, gap = compared.worst, compared.gaps[0]
    found = [f"worst by {first}: none, for it is undefined in every group"]
    if worst is not None:
        found = [
            f"worst by {first}: {worst} with {value_of(compared.groups[worst][0])}; the largest "
            f"difference of two groups is {value_of(gap.difference)}",
        ]
    if report.small:
        found.append(
            f"groups of fewer than {plural(report.smallest, 'row')} have no figures: "
            f"{listed(report.small)}"
        )
    if groups.missing:
        found.append(
            f"{plural(groups.missing, 'row')} without a value in {groups.name!r}: no group"
        )
    return found


def listed(counts: dict[str, int]) -> str:
    """List groups with their numbers of rows."""
    some = [f"{group} ({count})" for group, count in [*counts.items()][:SHOWN_GROUPS]]
    more = len(counts) - len(some)
    return ", ".join(some) + (f" and {more:,} more" if more else "")


def score_table(report: GroupReport) -> Table:
    """Return the scores of each group, and of all rows."""
    compared, counts = report.compared, report.groups.counts
    columns = [n for n, one in enumerate(compared.measures) if one.label is None]
    names = tuple(spaced(compared.measures[n].name) for n in columns)
    rows: list[list[str | int | float]] = [
        [group, counts[group], *(value_of(values[n]) for n in columns)]
        for group, values in compared.groups.items()
    ]
    whole = len(report.groups.of_rows)
    rows.append(["all rows", whole, *(value_of(compared.whole[n]) for n in columns)])
    return Table(f"scores by {report.groups.name}", ("group", "rows", *names), rows)


def gap_table(report: GroupReport, gaps: Sequence[Gap]) -> Table:
    """Return how far apart the groups are."""
    columns = ("measure", "label", "difference", "ratio", "lowest", "highest", "chance")
    return Table(
        f"differences by {report.groups.name}",
        columns,
        [
            [
                spaced(gap.name),
                gap.label or "",
                value_of(gap.difference),
                gap.ratio,
                gap.lowest,
                gap.highest,
                chance_of(gap.chance),
            ]
            for gap in gaps
        ],
    )


def largest_gaps(compared: Compared) -> list[Gap]:
    """Return the gaps of the scores and, of each kind of gap of labels, the largest.

    Their `chance` is that of the largest of all labels.
    """
    found = [gap for gap in compared.gaps if gap.label is None]
    for name in dict.fromkeys(gap.name for gap in compared.gaps if gap.label is not None):
        some = [g for g in compared.gaps if g.name == name and g.label is not None]
        known = [gap for gap in some if gap.difference.value == gap.difference.value]
        found += [max(known, key=lambda gap: gap.difference.value)] if known else []
    return found


def rate_table(report: GroupReport, label: str) -> Table:
    """Return the rates of one label in each group."""
    compared = report.compared
    columns = [n for n, one in enumerate(compared.measures) if one.label == label]
    names = tuple(compared.measures[n].name for n in columns)
    rows: list[list[str | int | float]] = [
        [group, *(value_of(values[n]) for n in columns)]
        for group, values in compared.groups.items()
    ]
    rows.append(["all rows", *(value_of(compared.whole[n]) for n in columns)])
    return Table(f"rates of {label}", ("group", *names), rows)


def labels_of(compared: Compared) -> list[str]:
    """Return the labels that have rates."""
    return [*dict.fromkeys(one.label for one in compared.measures if one.label is not None)]


def words_found(report: SwapReport) -> str:
    """Say how many texts have a word of the list."""
    return f"{report.texts:,} of {plural(report.rows, 'row')} have a word of the list"


def flips_found(sides: Sides) -> str:
    """Say how many answers flip; an empty text where answers are numbers."""
    if sides.share is None:
        return ""
    flips = f"{sides.flips:,} of {plural(sides.texts, 'answer')}"
    return f"{flips} flip between {sides.first} and {sides.second}: {value_of(sides.share)}"


def direction_table(report: SwapReport, sides: Sides, directions: Sequence[Direction]) -> Table:
    """Return which labels are answered more for which side."""
    columns = ("label", f"more for {sides.first}", f"more for {sides.second}", "p")
    change = f"change of {sides.unit} to {sides.second}"
    has_change = any(one.change is not None for one in directions)
    return Table(
        f"{report.name}: {sides.first} / {sides.second}",
        (*columns, *([change] if has_change else [])),
        [
            [
                one.label,
                one.first,
                one.second,
                chance_of(one.p),
                *([value_of(one.change)] if one.change is not None else []),
            ]
            for one in directions
        ],
    )


def value_of(estimate: Estimate) -> str:
    """Write a value with its interval: 0.912 [0.880, 0.940]."""
    if estimate.value != estimate.value:
        return DASH
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def chance_of(p: float) -> str:
    """Write a probability; a small one as below 0.001."""
    return "<0.001" if p < 0.001 else spoken(p)


def spaced(name: str) -> str:
    """Write the name of a score with spaces."""
    return name.replace("_", " ")
