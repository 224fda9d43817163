"""Measure the rows of `gpu.py` that are missing and fit into the time."""

import argparse
import faulthandler
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gpu_speed
import torch
from gpu import DEAD, RUNNING, parser
from gpu_attention_checks import attention_checks
from gpu_card import card
from gpu_checks import model_checks
from gpu_pretraining import pretraining
from gpu_report import Report
from gpu_training_checks import training_checks
from gpu_works import Bench, LeftOut, works
from machine import surroundings

CHECK = 8.0
PRETRAINING = 45.0, 130.0
"""The fewest and the most seconds of pretraining."""
PATIENCE = 240.0
"""The most seconds for any row: its process is ended then."""
RESERVE = 15.0
"""Seconds for the plots, and for what a row takes longer than expected."""


@dataclass(frozen=True)
class Row:
    """A row of the table: its place in gpu.json, the seconds it needs, and what measures it."""

    key: tuple[str, ...]
    seconds: float
    measure: Callable[[float], Mapping[str, Any]]
    """Seconds left -> the row."""


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """List the rows, most important first."""
    device, is_tiny, folder = torch.device(options.device), options.size == "tiny", options.out
    bench, known = Bench(device), works(is_tiny)
    factor = 0.3 if is_tiny else 1.0
    yield Row(("card", "card"), 5, lambda _: card(device))
    checks = [*attention_checks(device, is_tiny), *model_checks(device), *training_checks(device)]
    for name, check in checks:
        yield Row(("checks", name), CHECK * factor, lambda _, check=check: check())
    least, most = (8.0, 8.0) if is_tiny else PRETRAINING
    timed = sorted(gpu_speed.rows(is_tiny), key=lambda row: row[0])
    for when, name, contender, needed in timed:
        if when >= 4:
            break
        yield speed_row(bench, known[name], name, contender, needed * factor, folder, is_tiny)
    yield Row(
        ("pretraining", "pretraining"),
        least,
        lambda left: pretraining(
            device, folder / "pretraining", options.text, min(most, left), is_tiny
        ),
    )
    for when, name, contender, needed in timed:
        if when >= 4:
            yield speed_row(bench, known[name], name, contender, needed * factor, folder, is_tiny)


def speed_row(
    bench: Bench, work: Any, name: str, contender: str, needed: float, folder: Path, is_tiny: bool
) -> Row:
    """Return the row of a contender of a work."""
    first, seconds = folder / "first" / f"{name}.npy", 0.1 if is_tiny else 3.0
    measure = partial(gpu_speed.measure, bench, work, contender, first, seconds)
    return Row(("speed", name, contender), needed, lambda _: measure())


def run(options: argparse.Namespace, deadline: float) -> int:
    """Measure the rows that are missing and fit into the time; return an exit code."""
    device = torch.device(options.device)
    given = [word for word in sys.argv[1:] if word not in ("--until", str(options.until))]
    command = shlex.join(["python", "benchmarks/gpu.py", *given])
    here = {**surroundings(device), "command": command, "size": options.size}
    report = Report(options.out, here)
    running, skipped = options.out / RUNNING, 0
    if running.exists():
        key = tuple(running.read_text().split("\t"))
        report.add(key, failure(key, "its process died, or had to be ended"))
        running.unlink()
    for row in rows(options):
        if row.key[0] not in options.sections or report.has(row.key):
            continue
        left = deadline - time.monotonic() - RESERVE
        if row.seconds > left:
            skipped += 1
            continue
        begin = time.monotonic()
        running.write_text("\t".join(row.key))
        limit = PATIENCE if options.size == "tiny" else min(PATIENCE, 30 + 4 * row.seconds)
        faulthandler.dump_traceback_later(limit, exit=True)
        note, is_alive = attempt(row, left, device)
        faulthandler.cancel_dump_traceback_later()
        note["took"] = round(time.monotonic() - begin, 1)
        report.add(row.key, note)
        running.unlink()
        print(f"{note['took']:6.1f} s  {': '.join(row.key[1:])}: {told(note)}", flush=True)
        if not is_alive:
            return DEAD
    report.draw()
    wrong = report.wrong
    print(f"\nwrong: {'; '.join(wrong) or 'nothing'}")
    print(f"{skipped} rows did not fit into the time; {report.path} has all figures")
    return 1 if wrong else 0


def attempt(row: Row, left: float, device: torch.device) -> tuple[dict[str, Any], bool]:
    """Measure a row; return its note, and whether the device still works."""
    try:
        note = dict(row.measure(left))
        if note.get("right") is False:
            note["failed"] = True
    except LeftOut as error:
        note = {"left_out": str(error)}
    except Exception as error:  # reported, and the other rows still run
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        note = failure(row.key, f"{type(error).__name__}: {reason}")
        traceback.print_exc()
    gpu_speed.clear(device)
    try:
        gpu_speed.synchronize(device)
    except RuntimeError:  # of the row: after an error of CUDA every later call fails
        return note, False
    return note, True


def failure(key: tuple[str, ...], reason: str) -> dict[str, Any]:
    """Return the note of a row that could not be measured."""
    if key[0] != "checks":
        return {"left_out": reason}
    return {"failed": True, "line": f"failed: {reason}"}


def told(note: Mapping[str, Any]) -> str:
    """Return a row in a few words."""
    if "seconds" in note:
        return f"{1e3 * sorted(note['seconds'])[len(note['seconds']) // 2]:.2f} ms"
    if "losses" in note:
        return f"held-out loss {note['losses'][-1]:.3f} after {note['minutes'][-1]:.2f} minutes"
    words = "line", "left_out"
    return next((str(note[word]) for word in words if word in note), "measured")


def main() -> int:
    """Run what fits into the time; return the exit code."""
    options = parser().parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser().error("there is no CUDA device: try the script with --device cpu --size tiny")
    return run(options, options.until)


if __name__ == "__main__":
    sys.exit(main())
