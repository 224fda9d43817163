"""The figures of `speed.py` as a table and as a picture.

python benchmarks/report.py benchmarks/results/speed-cpu.json     both again, from the figures
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cellar import atomic_path, write_json, write_text

BLUE, GREY = "#2b6cb0", "#a0aec0"
TOP_LEFT = {"loc": "left", "fontsize": 9}
COLUMNS = ("", "real tokens/s", "ms a call", "of peak", "× plainformer is faster", "peak MiB")


def table(work: Mapping[str, Any]) -> str:
    """One workload as a Markdown table, the fastest first; then who was left out, and why."""
    rows = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *map(cells, ranked(work))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    left_out = [
        f"{name} is left out: {note['left_out']}"
        for name, note in work["contenders"].items()
        if "left_out" in note
    ]
    head = (
        f"{work['texts']:,} texts{' a step' if work['kind'] in ('mlm', 'classify') else ''}, "
        f"mean {work['mean_length']:.0f} tokens, at most {work['longest_length']:,}; "
        f"{work['model']}; peak {work['peak_flops'] / 1e9:,.0f} GFLOP/s"
    )
    return "\n".join([head, "", *lines, *([""] if left_out else []), *left_out])


def ranked(work: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The contenders that were timed, the fastest first."""
    timed = ((name, note) for name, note in work["contenders"].items() if "seconds" in note)
    return sorted(timed, key=lambda pair: -pair[1]["tokens_per_second"]["median"])


def cells(named: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """One row."""
    name, note = named
    peak = f"{100 * note['of_peak']:.0f} %" if "of_peak" in note else ""
    memory = f"{note['peak_bytes'] / 2**20:,.0f}" if note.get("peak_bytes") else ""
    if "spearman" in note:
        name = f"{name} (Spearman {note['spearman']:.4f})"
    return (
        name,
        ranged(note["tokens_per_second"], ",.0f"),
        ranged(note["milliseconds_per_call"], ",.1f"),
        peak,
        ranged(note["ours_is_faster"], ".2f"),
        memory,
    )


def ranged(values: Mapping[str, float], form: str) -> str:
    """Median and quartiles."""
    return f"{values['median']:{form}} ({values['q1']:{form}} – {values['q3']:{form}})"


def whole(report: Mapping[str, Any]) -> Iterator[str]:
    """All workloads, each under the conditions of its run where they are not those before it."""
    last: list[str] = []
    for name, work in report.items():
        found = conditions(work["run"])
        yield from [line for line in found if line not in last]
        last = found
        yield f"### {name}: {work['title']}"
        yield table(work)


def conditions(run: Mapping[str, Any]) -> list[str]:
    """The command with its date, and the machine with the versions."""
    there = [f"{name} {number}" for name, number in run["versions"].items() if number]
    return [
        f"`{run['command']}`, {run['date']}",
        f"{run['device']}, {run['cpu']}, {run['threads']} threads, {run['precision']}, medians "
        f"(quartiles) of {run['rounds']} interleaved rounds; Python {run['python']}, "
        + ", ".join(there),
    ]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """A panel for each workload, a bar for each contender with its quartiles and its ratio."""
    from matplotlib.figure import Figure

    works = {name: ranked(work) for name, work in report.items()}
    heights = [len(rows) + 1.5 for rows in works.values()]
    figure = Figure(figsize=(7.2, 0.24 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(works), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (workload, rows) in zip(panels, works.items(), strict=True):
        work = report[workload]
        rates = [note["tokens_per_second"] for _, note in rows]
        medians = [rate["median"] for rate in rates]
        errors = [
            [rate["median"] - rate["q1"] for rate in rates],
            [rate["q3"] - rate["median"] for rate in rates],
        ]
        colours = [BLUE if name.startswith("plainformer") else GREY for name, _ in rows]
        axes.barh(range(len(rows)), medians, xerr=errors, color=colours, ecolor="#4a5568")
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
        for place, (name, note) in enumerate(rows):
            if not name.startswith("plainformer"):
                ratio = f"  ×{note['ours_is_faster']['median']:.2f}"
                axes.text(errors[1][place] + medians[place], place, ratio, va="center", fontsize=7)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15 * max(rate["q3"] for rate in rates))
        axes.set_title(f"{workload}: {work['title']}, {work['model']}", **TOP_LEFT)
        axes.tick_params(axis="x", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("real tokens a second; ×: how many times faster plainformer is", size=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def write(report: Mapping[str, Any], out: Path) -> None:
    """The figures, and beside them table and picture."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, dict(report))
    write_text(out.with_suffix(".md"), "\n\n".join(whole(report)) + "\n")
    draw(report, out.with_suffix(".png"))


def main() -> None:
    """Again, from a file of figures."""
    path = Path(sys.argv[1])
    report = json.loads(path.read_text(encoding="utf-8"))
    write(report, path)
    print("\n\n".join(whole(report)))


if __name__ == "__main__":
    main()
