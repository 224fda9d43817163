"""Tabulate and draw the results of `methods.py`.

    python benchmarks/methods_table.py [FILE.jsonl]

Writes the table (.md) and the picture (.png) beside the results; runs of more steps have a table
of their own. A score is the mean over the seeds ± its standard deviation, in percent; then the mean
difference to plain fine-tuning on the same examples, with a star where a paired t-test over the
seeds gives p < 0.05. With five seeds and this many comparisons, one star in twenty is chance.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from methods_compared import SETS
from scipy.stats import ttest_rel

from plainformer.base import atomic_path, write_text
from plainformer.base.figures import BLUE, GREY, ORANGE, panels, save_png

RESULTS = Path(__file__).parent / "results" / "methods.jsonl"
Scores = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Set -> method -> seed -> score."""
FEWEST = 5
"""Seeds of plain fine-tuning without which a set is left out."""
LEFT, RIGHT = -15, 10
"""The ends of the picture, in points."""


def read(path: Path) -> tuple[Scores, dict[str, dict[str, float]]]:
    """Return the scores, and the median costs of each method."""
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    rates: dict[tuple[str, str], float] = {}
    costs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        kind, *key = line["key"]
        if kind == "score":
            title, method, seed = key
            if rates.setdefault((title, method), line["rate"]) != line["rate"]:
                rates[title, method] = line["rate"]
                scores[title].pop(method, None)  # of a rate given up since
            scores[title][method][seed] = line["score"]
        if kind == "cost":
            costs[key[0]].append(line)
    names = "seconds", "peak_mib", "bytes", "trained"
    begun = {title for title, of in scores.items() if len(of["plain"]) < FEWEST}
    return {title: of for title, of in scores.items() if title not in begun}, {
        method: {name: median(line[name] for line in lines) for name in names}
        for method, lines in costs.items()
    }


def paired(scores: Scores, title: str, method: str) -> tuple[float, float, list[float]] | None:
    """Return the mean difference to plain fine-tuning, its p, and the differences, in percent."""
    plain, other = scores[title]["plain"], scores[title].get(method, {})
    seeds = sorted(plain.keys() & other.keys())
    differences = [100 * (other[seed] - plain[seed]) for seed in seeds]
    if not differences:
        return None
    if len(seeds) < 2 or len(set(differences)) == 1:
        return mean(differences), 1.0, differences
    p = ttest_rel([other[seed] for seed in seeds], [plain[seed] for seed in seeds]).pvalue
    return mean(differences), float(p), differences


def cell(scores: Scores, title: str, method: str) -> str:
    """Return a score with its spread and its difference to plain fine-tuning."""
    found = list(scores[title].get(method, {}).values())
    if not found:
        return ""
    spread = f" ± {100 * stdev(found):.1f}" if len(found) > 1 else ""
    text = f"{100 * mean(found):.1f}{spread}"
    against = paired(scores, title, method)
    if method == "plain" or against is None:
        return text
    difference, p, _ = against
    return f"{text} ({difference:+.1f}{'*' if p < 0.05 else ''})"


def table(scores: Scores, costs: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the lines of a table: a row for each method."""
    titles, methods = list(scores), list(next(iter(scores.values())))
    head = ["", "trained", "ms a step", "peak MiB", "MB saved", *titles]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    whole = costs.get("plain", {}).get("trained")
    for method in methods:
        cost = costs.get(method)
        numbers = [""] * 4
        if cost and whole:
            numbers = [
                f"{100 * cost['trained'] / whole:.2f} %",
                f"{1000 * cost['seconds']:.0f}",
                f"{cost['peak_mib']:,.0f}",
                f"{cost['bytes'] / 1e6:.2f}",
            ]
        rows.append([method, *numbers, *(cell(scores, title, method) for title in titles)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"


def draw(scores: Scores, path: Path) -> None:
    """Draw each method's difference to plain fine-tuning on each set, seed by seed."""
    titles = list(scores)
    methods = [method for method in next(iter(scores.values())) if method != "plain"]
    figure, found_axes = panels(len(titles), 2.4, 0.22 * len(methods) + 1, columns=len(titles))
    for axes, title in zip(found_axes, titles, strict=True):
        for row, method in enumerate(methods):
            found = paired(scores, title, method)
            if found is not None:
                difference, p, each = found
                colour = ORANGE if p < 0.05 else BLUE
                axes.plot(each, [row] * len(each), ".", color=GREY, markersize=3)
                axes.plot(difference, row, "D" if p < 0.05 else "o", color=colour, markersize=4.5)
                if difference < LEFT:
                    axes.text(LEFT + 0.3, row, f"← {difference:.0f}", fontsize=7, va="center")
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_xlim(LEFT, RIGHT)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_yticks(range(len(methods)), methods if axes is found_axes[0] else [])
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("points")
    save_png(figure, path)


def main() -> None:
    """Write the tables and the picture beside the results."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    try:
        found, costs = read(path)
        scores = {title: found[title] for title in found if not SETS[title].methods}
    except (OSError, ValueError, LookupError, TypeError):
        print(f"{path} is no file of results of methods.py", file=sys.stderr)
        raise SystemExit(2) from None
    if not scores:
        print(f"{path}: no set has {FEWEST} seeds of plain fine-tuning yet", file=sys.stderr)
        raise SystemExit(2)
    of_some_methods = {title: found[title] for title in found if title not in scores}
    both = [scores, of_some_methods] if of_some_methods else [scores]
    text = "\n".join("\n".join(table(each, costs)) + "\n" for each in both)
    with atomic_path(path.with_suffix(".md")) as file:
        write_text(file, text)
    draw(scores, path.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
