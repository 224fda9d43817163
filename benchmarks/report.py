"""Write the figures of `speed.py` as a table and a plot.

python benchmarks/report.py benchmarks/results/speed-cpu.json     both, from the figures
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plainformer.base import atomic_path, write_json, write_text

SERIES = {
    "transformers sdpa": r"transformers sdpa(, as called|, 32 at a time)?",
    "transformers sdpa, sorted": r"transformers sdpa, sorted",
    "transformers sdpa, compiled": r"transformers sdpa, compiled.*",
    "transformers FlashAttention-2": r"transformers FlashAttention-2.*",
    "pipeline or sentence-transformers": r"transformers pipeline|sentence-transformers .*",
    "torch TransformerEncoder": r"torch TransformerEncoder.*",
    "packed-encoders": r"packed-encoders",
    "ONNX Runtime": r"ONNX Runtime.*",
    "OpenVINO": r"OpenVINO.*|sentence-transformers, OpenVINO",
    "tokenizers, in Rust": r"tokenizers .*",
}
"""The series of the plot and their contenders; a workload shows the fastest of each."""
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20)
COLUMNS = ("", "real tokens/s", "ms a call", "of peak", "× plainformer is faster", "peak MiB")
NOMINAL = "of nominal"
"""The column after `of peak`, where the published peak of a device is known."""


def table(work: Mapping[str, Any]) -> str:
    """Return a workload as a Markdown table, fastest first, with notes on omitted contenders."""
    columns = (*COLUMNS[:4], NOMINAL, *COLUMNS[4:]) if work.get("nominal_flops") else COLUMNS
    rows = [columns, ("---", *["---:"] * (len(columns) - 1)), *map(cells, ranked(work))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
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
        f"{work['model']}; peak {work['peak_flops'] / 1e9:,.0f} GFLOP/s "
        f"(`torch.mm` {work['torch_mm_flops'] / 1e9:,.0f})"
    )
    lengths = lengths_table(work) if work.get("lengths") else []
    return "\n".join([head, "", *lines, *lengths, *([""] if left_out else []), *left_out])


def lengths_table(work: Mapping[str, Any]) -> list[str]:
    """Return the lines of the milliseconds of a call at each length: median, 95th percentile."""
    lines = ["", "ms a call, p50 and p95 (× plainformer is faster), by tokens:", ""]
    lines += ["| | " + " | ".join(map(str, work["lengths"])) + " |"]
    lines += ["| --- |" + " ---: |" * len(work["lengths"])]
    for name, note in ranked(work):
        cells = [
            f"{row['p50']:.1f} ({row['p50_ours_is_faster']:.2f}), "
            f"{row['p95']:.1f} ({row['p95_ours_is_faster']:.2f})"
            for row in note["by_length"].values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def ranked(work: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the contenders that were timed, fastest first."""
    timed = ((name, note) for name, note in work["contenders"].items() if "seconds" in note)
    return sorted(timed, key=lambda pair: -pair[1]["tokens_per_second"]["median"])


def cells(named: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the cells of one row."""
    name, note = named
    peak = f"{100 * note['of_peak']:.0f} %" if "of_peak" in note else ""
    nominal = [f"{100 * note['of_nominal']:.1f} %"] if "of_nominal" in note else []
    memory = f"{note['peak_bytes'] / 2**20:,.0f}" if note.get("peak_bytes") else ""
    if "spearman" in note:
        cosine = f", lowest cosine {note['lowest_cosine']:.4f}" if "lowest_cosine" in note else ""
        name = f"{name} (Spearman {note['spearman']:.4f}{cosine})"
    return (
        name,
        ranged(note["tokens_per_second"], ",.0f"),
        ranged(note["milliseconds_per_call"], ",.1f"),
        peak,
        *nominal,
        ranged(note["ours_is_faster"], ".2f"),
        memory,
    )


def ranged(values: Mapping[str, float], form: str) -> str:
    """Format median and quartiles."""
    return f"{values['median']:{form}} ({values['q1']:{form}} – {values['q3']:{form}})"


def whole(report: Mapping[str, Any]) -> Iterator[str]:
    """Return all workloads, with the conditions of a run wherever they change."""
    last: list[str] = []
    for name, work in report.items():
        found = conditions(work["run"])
        yield from [line for line in found if line not in last]
        last = found
        yield f"### {name}: {work['title']}"
        yield table(work)


def conditions(run: Mapping[str, Any]) -> list[str]:
    """Return the command, the date, the machine and the versions."""
    there = [f"{name} {number}" for name, number in run["versions"].items() if number]
    return [
        f"`{run['command']}`, {run['date']}",
        f"{run['device']}, {run['cpu']}, {run['threads']} threads, {run['precision']}, medians "
        f"(quartiles) of {run['rounds']} interleaved rounds; Python {run['python']}, "
        + ", ".join(there),
    ]


def series(work: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """Return the speed-up of plainformer over the fastest contender of each series."""
    found: dict[str, Mapping[str, float]] = {}
    for contender, note in ranked(work):  # fastest first
        for name, pattern in SERIES.items():
            if re.fullmatch(pattern, contender):
                found.setdefault(name, note["ours_is_faster"])
    return found


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Plot the speed-up of plainformer, a line for each workload, with quartiles.

    Left of 1 the contender is faster. The table lists every contender.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    works = {name: series(work) for name, work in report.items()}
    figure = Figure(figsize=(7.2, 0.38 * len(works) + 2.0), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="#4a5568", linewidth=1)
    for number, name in enumerate(SERIES):
        found = [(row, ratios[name]) for row, ratios in enumerate(works.values()) if name in ratios]
        if not found:
            continue
        medians = [ratio["median"] for _, ratio in found]
        axes.errorbar(
            medians,
            [row for row, _ in found],
            xerr=[
                [m - ratio["q1"] for m, (_, ratio) in zip(medians, found, strict=True)],
                [ratio["q3"] - m for m, (_, ratio) in zip(medians, found, strict=True)],
            ],
            fmt="o",
            markersize=5,
            color=colormaps["tab10"](number),
            elinewidth=0.8,
            label=name,
        )
    titles = [f"{report[name]['title']}, {report[name]['model']}" for name in works]
    axes.set_yticks(range(len(works)), titles, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], fontsize=7)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="both", color="#edf2f7")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("how many times faster plainformer is, in real tokens a second", size=8)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write the figures, the table and the plot."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, dict(report))
    write_text(out.with_suffix(".md"), "\n\n".join(whole(report)) + "\n")
    draw(report, out.with_suffix(".png"))


def main() -> None:
    """Write the table and the plot of a file of figures."""
    path = Path(sys.argv[1])
    report = json.loads(path.read_text(encoding="utf-8"))
    write(report, path)
    print("\n\n".join(whole(report)))


if __name__ == "__main__":
    main()
