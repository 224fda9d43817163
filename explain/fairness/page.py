"""Write what was found as one HTML page, or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from plainformer.base import nan_to_null, write_json
from plainformer.explain.fairness.flips import Flip, SwapReport
from plainformer.explain.fairness.measure import GroupReport
from plainformer.explain.fairness.tables import (
    direction_table,
    flips_found,
    gap_table,
    group_sentences,
    labels_of,
    rate_table,
    score_table,
    words_found,
)
from plainformer.explain.page import as_html, shown, write_html

small = partial(as_html, heading="h3")

STYLE = """
main { max-width: 68rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 0; }
.scroll { overflow-x: auto; }
th, td { vertical-align: top; white-space: nowrap; }
td:first-child { white-space: normal; min-width: 6rem; }
.flip { border-inline-start: 3px solid var(--line); padding-inline-start: .8rem; margin: .8rem 0; }
.flip p { margin: 0; overflow-wrap: anywhere; }
"""
ABOUT = (
    "Values stand with their 95 % intervals. Chance: the share of random groups of the same sizes "
    "whose difference is as large, for a label in any label; p: the exact probability of counts as "
    "one-sided as these."
)


def write_report(
    path: Path, model: str, groups: Sequence[GroupReport], swaps: Sequence[SwapReport]
) -> None:
    """Write everything that was measured to a .html or .json file."""
    if path.suffix.lower() == ".json":
        write_json(path, nan_to_null(as_json(model, groups, swaps)))
        return
    articles = [*map(group_article, groups), *map(swap_article, swaps)]
    write_html(path, f"How fair {model} is", ABOUT, "\n".join(articles), STYLE)


def as_json(
    model: str, groups: Sequence[GroupReport], swaps: Sequence[SwapReport]
) -> dict[str, Any]:
    """Return everything that was measured as a JSON object."""
    return {
        "model": model,
        "groups": [
            {
                "column": report.groups.name,
                "rows": report.groups.counts,
                "without a value": report.groups.missing,
                "smallest": report.smallest,
                "worst": report.compared.worst,
                "measures": [
                    {
                        **asdict(measure),
                        "all rows": asdict(report.compared.whole[number]),
                        "groups": {
                            group: asdict(values[number])
                            for group, values in report.compared.groups.items()
                        },
                    }
                    for number, measure in enumerate(report.compared.measures)
                ],
                "differences": [asdict(gap) for gap in report.compared.gaps],
            }
            for report in groups
        ],
        "swaps": [asdict(report) for report in swaps],
    }


def group_article(report: GroupReport) -> str:
    """Return what was found for the groups of a column as HTML."""
    labels = labels_of(report.compared)
    rates = "".join(small(rate_table(report, label)) for label in labels)
    details = f"<details><summary>Rates of each label</summary>{rates}</details>" if labels else ""
    return (
        f'<article>\n<h2 dir="auto">Groups of {shown(report.groups.name)}</h2>\n'
        + "".join(f'<p class="faint" dir="auto">{shown(s)}</p>' for s in group_sentences(report))
        + small(score_table(report))
        + small(gap_table(report, report.compared.gaps))
        + f"{details}\n</article>"
    )


def swap_article(report: SwapReport) -> str:
    """Return what was found with a list of words as HTML."""
    parts = []
    for sides in report.pairs:
        parts.append(small(direction_table(report, sides, sides.directions)))
        parts.append(f'<p class="faint" dir="auto">{shown(flips_found(sides))}</p>')
        parts += [flip(one) for one in sides.examples]
    return (
        f'<article>\n<h2 dir="auto">Words swapped: {shown(report.name)}</h2>\n'
        f'<p class="faint">{shown(words_found(report))}</p>' + "".join(parts) + "</article>"
    )


def flip(one: Flip) -> str:
    """Return both versions of a text with their answers as HTML."""
    lines = "".join(
        f'<p dir="auto">{shown(text)} → <strong>{shown(answer)}</strong></p>'
        for text, answer in zip(one.texts, one.answers, strict=True)
    )
    return f'<div class="flip"><p class="faint">{shown(one.source)}</p>{lines}</div>'
