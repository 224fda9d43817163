"""`plainformer runs …`."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from plainformer.base import UserError
from plainformer.base.counts import clock, short
from plainformer.commands.inspect.view import refuse_no_picture
from plainformer.line import Positional
from plainformer.options import parse
from plainformer.runs import Run, differing_options, find_runs, why_not_comparable

PIPED = 120
"""The width of a list, in columns, where standard output is no terminal."""


@dataclass(frozen=True)
class RunsOptions:
    """List the runs in a folder, or compare some.

    `plainformer runs A B`, with the folders of two runs, shows the options in which they differ,
    their results side by side, and whether these are comparable: two held-out losses are only if
    tokenizer, text and masks are the same.
    """

    folders: Positional[tuple[Path, ...]] = (Path("runs"),)
    """Folders to look through, or runs to compare."""

    plot: Path | None = None
    """Draw the training and held-out curves of the runs into this picture (.png)."""

    by: Literal["steps", "tokens", "seconds"] = "steps"
    """Horizontal axis of the curves."""

    def __post_init__(self) -> None:
        """Check the picture before it overwrites another file."""
        refuse_no_picture(self.plot)


def run(arguments: Sequence[str]) -> None:
    """Print the runs, then notes on files that could not be read."""
    options = parse(RunsOptions, "runs", arguments)
    found = [(folder, find_runs(folder)) for folder in options.folders]
    for folder, inside in found:
        if not inside:
            fault = "holds no run" if folder.is_dir() else "is no folder"
            raise UserError(f"{folder} {fault}: give a folder that pretrain or finetune wrote to")
    runs = list({run.folder.resolve(): run for _, inside in found for run in inside}.values())
    if options.plot is not None:  # before printing, which a closed pipe ends
        from plainformer.runs.curves import draw_curves

        draw_curves(runs, options.plot, options.by)
    is_piped = not sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True, width=10_000 if is_piped else None)
    one_each = all([run.folder for run in inside] == [folder] for folder, inside in found)
    if one_each and len(runs) > 1:
        console.print(comparison(runs))
        for other in runs[1:]:
            reason = why_not_comparable(runs[0], other)
            said = f"do not compare: {reason}" if reason else "compare: measured on the same"
            print(f"held-out {other.main_metric} of {other.folder} and {runs[0].folder} {said}")
    else:
        width = PIPED if is_piped else console.width
        console.print(listing(sorted(runs, key=lambda run: run.written), console, width))
    for note in [note for run in runs for note in run.notes]:
        print(note, file=sys.stderr)
    if options.plot is not None:
        print(f"their curves are in {options.plot}")


def listing(runs: Sequence[Run], console: Console, width: int) -> Table:
    """Tabulate the runs, one per row, with as many columns as fit into `width`."""
    names = list(COLUMNS)
    while True:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in names:
            table.add_column(name, justify="right" if name in NUMBERS else "left")
        for run in runs:
            table.add_row(*(Text(COLUMNS[name](run)) for name in names))
        spare = [name for name in SPARED if name in names]
        needed = Measurement.get(console, console.options.update(max_width=100_000), table).maximum
        if not spare or needed <= width:
            return table
        names.remove(spare[0])


def comparison(runs: Sequence[Run]) -> Table:
    """Tabulate the runs, one per column: the options that differ, then the results."""
    table = Table(box=None, header_style="bold")
    for name in ("", *(str(run.folder) for run in runs)):
        table.add_column(Text(name))
    for name, values in differing_options(runs).items():
        table.add_row(Text(name), *(Text(spoken(value)) for value in values), style="cyan")
    for name, cell in NUMBERS.items():
        table.add_row(name, *(Text(cell(run)) for run in runs))
    for name in dict.fromkeys(name for run in runs for e in run.evaluations for name in e.metrics):
        table.add_row(Text(name.replace("_", " ")), *(Text(last(run, name)) for run in runs))
        table.add_row("  best, after step", *(Text(best(run, name)) for run in runs))
    return table


NUMBERS: dict[str, Callable[[Run], str]] = {
    "size": lambda run: short(run.parameters) if run.parameters else "",
    "state": lambda run: run.state,
    "steps": lambda run: f"{run.steps}" + (f" of {run.total_steps}" if run.total_steps else ""),
    "tokens": lambda run: short(run.tokens) if run.tokens else "",
    "time": lambda run: clock(run.seconds) if run.seconds else "",
    "tokens a second": lambda run: (
        short(run.tokens / run.seconds) if run.tokens and run.seconds else ""
    ),
}
"""Columns with the results of a run, for every kind of task."""
COLUMNS: dict[str, Callable[[Run], str]] = {
    "run": lambda run: str(run.folder),
    "stage": lambda run: run.stage,
    "model": lambda run: run.model,
    **NUMBERS,
    "held out": lambda run: f"{run.main_metric} {value}" if (value := last(run)) else "",
    "best, after step": lambda run: best(run),
    "written": lambda run: time.strftime("%Y-%m-%d %H:%M", time.localtime(run.written)),
}
SPARED = (
    *("tokens a second", "written", "size", "tokens", "model", "best, after step"),
    *("time", "steps", "stage"),
)
"""Columns that a narrow terminal omits, in order of omission."""


def last(run: Run, name: str = "") -> str:
    """Return the latest held-out value of the run's main metric; "" where there is none."""
    value = run.last(name or run.main_metric)
    return "" if value is None else f"{value:.4g}"


def best(run: Run, name: str = "") -> str:
    """Return the best held-out value of the run's main metric, and its step."""
    found = run.best(name or run.main_metric)
    return "" if found is None else f"{found[1]:.4g}, {found[0]}"


def spoken(value: object) -> str:
    """Format the value of an option; "" where the run has none."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
