"""Read a run from the files in its folder.

    options.json    the options                         log.jsonl       steps and evaluations
    plan.json       the number of steps planned
    held_out.json   fingerprints of the held-out data   speed.jsonl     seconds and tokens
    metrics.json    the final metrics                   *.safetensors   the weights, once finished

Any file may be missing, half written or written by another program; then `Run.notes` says so, and
the other files are read.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plainformer.base import Fields, UserError, parse_json, read_json

OPTIONS, PLAN, LOG, SPEED = "options.json", "plan.json", "log.jsonl", "speed.jsonl"
WEIGHTS = "model.safetensors"
"""The file of weights: in the folder of a finished run, and in each checkpoint."""
ADAPTER = "adapter_model.safetensors"
"""The file of what a tuned run added to its base model."""
HELD_OUT, METRICS, SUMMARY = "held_out.json", "metrics.json", "summary.json"
TASKS = "tasks.json"
"""The file that names the tasks of a run on several."""
LARGEST_SIZE = 2**40
STOPPED_AFTER_SECONDS = 120.0

State = Literal["finished", "running", "stopped", "begun"]


class Evaluation(NamedTuple):
    """The metrics on held-out data after a step."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A run of pretraining or fine-tuning, as its folder records it; see `Run.read`."""

    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    steps: int = 0
    total_steps: int | None = None
    """The number of steps planned; early stopping may take fewer."""
    tokens: int = 0
    seconds: float = 0.0
    """Seconds of training steps, without evaluation and saving."""
    measured_on: Mapping[str, Any] | None = None
    """Fingerprints of the held-out data of pretraining; None without held-out data."""
    written: float = 0.0
    """Time of the last write to the folder, in seconds since 1970."""
    has_ended: bool = False
    notes: tuple[str, ...] = ()
    """The files and lines that could not be read, with the reasons."""

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read the files of a run."""
        notes: list[str] = []
        options = read_object(folder / OPTIONS, notes)
        planned = (read_object(folder / PLAN, notes) or {}).get("steps")
        last: dict[str, Any] = {}
        evaluations = []
        for row in log_rows(folder / LOG, notes, only_last_step=True):
            if isinstance(row.get("evaluation"), dict):
                evaluations.append(Evaluation(row["step"], finite_numbers(row["evaluation"])))
            else:
                last = row
        speeds = [row for row in log_rows(folder / SPEED, notes) if "seconds" in row]
        known = [folder / name for name in (OPTIONS, LOG, SPEED, METRICS)]
        return cls(
            folder=folder,
            options=options or {},
            evaluations=tuple(evaluations),
            steps=int(last.get("step", 0)),
            total_steps=planned if isinstance(planned, int) else None,
            tokens=int(finite_numbers(last).get("tokens", 0)),
            seconds=sum(finite_numbers(row).get("seconds", 0.0) for row in speeds),
            measured_on=read_object(folder / HELD_OUT, notes),
            written=max((path.stat().st_mtime for path in known if path.exists()), default=0.0),
            has_ended=any((folder / name).exists() for name in (METRICS, WEIGHTS, ADAPTER)),
            notes=tuple(notes),
        )

    @property
    def stage(self) -> str:
        """Return "pretrain mlm", "finetune tagging" …; "" where the options name neither."""
        objective = self.options.get("objective")
        if "corpus" in self.options and isinstance(objective, list):
            return " ".join(["pretrain", *map(str, objective)])
        if "tasks" in self.options:
            return "finetune several tasks"
        return f"finetune {self.task}" if self.task else ""

    @property
    def task(self) -> str:
        """Return the task of fine-tuning; "" for pretraining."""
        task = self.options.get("task")
        return str(task["name"]) if isinstance(task, dict) and "name" in task else ""

    @property
    def model(self) -> str:
        """Return the preset, or the name of the model folder that training started from."""
        start = self.options.get("model") or self.options.get("preset") or ""
        return Path(str(start)).name

    @cached_property
    def parameters(self) -> int | None:
        """Count the parameters of the model or its newest checkpoint; None before the first one."""
        checkpoints = sorted(self.folder.glob(f"checkpoints/step-*/{WEIGHTS}"))
        for path in (self.folder / WEIGHTS, *reversed(checkpoints)):
            count = count_parameters(path)
            if count is not None:
                return count
        return None

    @property
    def state(self) -> State:
        """Tell whether the run is finished, and if not, whether its log grew recently."""
        if self.has_ended:
            return "finished"
        if time.time() - self.written < STOPPED_AFTER_SECONDS:
            return "running"
        return "stopped" if self.steps else "begun"

    @property
    def main_metric(self) -> str:
        """Return the loss for pretraining, and for fine-tuning the first score of the task."""
        metrics = list(self.evaluations[-1].metrics) if self.evaluations else []
        scores = [name for name in metrics if name != "loss"]
        return scores[0] if scores and self.stage.startswith("finetune") else "loss"

    def last(self, name: str) -> float | None:
        """Return the last held-out value of a metric."""
        return self.values(name)[-1][1] if self.values(name) else None

    def best(self, name: str) -> tuple[int, float] | None:
        """Return the step and the value of the best evaluation by a metric."""
        values = self.values(name)
        sign = 1 if lower_is_better(name) else -1
        return min(values, key=lambda pair: sign * pair[1], default=None)

    def values(self, name: str) -> list[tuple[int, float]]:
        """Return the step and the value of each evaluation that has the metric."""
        return [(e.step, e.metrics[name]) for e in self.evaluations if name in e.metrics]

    def training_losses(self) -> list[tuple[int, float]]:
        """Return the training loss of each step: (step, loss)."""
        found = (
            (row["step"], finite_numbers(row).get("loss"))
            for row in log_rows(self.folder / LOG, [])
            if "evaluation" not in row
        )
        return [(step, loss) for step, loss in found if loss is not None]

    def clock(self) -> list[tuple[int, float, float]]:
        """Return cumulative (step, tokens, seconds) at the start and at each row of speed.jsonl."""
        points = [(0, 0.0, 0.0)]
        for row in log_rows(self.folder / SPEED, []):
            values = finite_numbers(row)
            _, tokens, seconds = points[-1]
            spent = values.get("seconds", 0.0)
            tokens += spent * values.get("tokens_per_second", 0.0)
            points.append((row["step"], tokens, seconds + spent))
        return points


def find_runs(folder: Path) -> list[Run]:
    """Find the runs in and below a folder, in the order of their last write.

    The folder of a sweep is not a run itself; the runs in it are. A run on several tasks is a run;
    the folders of its tasks are not.
    """
    found = []
    for name, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("checkpoints", "tokens") and f[0] != "."]
        if TASKS in files:
            folders.clear()
        is_sweep = SUMMARY in files and bool(folders)
        if (LOG in files or OPTIONS in files) and not is_sweep:
            found.append(Run.read(Path(name)))
    return sorted(found, key=lambda run: (run.written, run.folder))


def lower_is_better(name: str) -> bool:
    """Tell whether smaller values of a metric are better."""
    return name.endswith(("loss", "perplexity", "error", "mse", "mae", "nats_per_character"))


def read_object(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """Read the object in a JSON file; return None for no file, or, with a note, for a bad one."""
    try:
        return read_json(path) if path.exists() else None
    except UserError as error:
        notes.append(str(error))
        return None


def log_rows(
    path: Path, notes: list[str], only_last_step: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log, up to the first invalid one, which adds a note.

    A last line without a line break is still being written and is left out. With
    `only_last_step`, yield evaluations and the last step alone: a log of a million steps is then
    read in a moment.
    """
    try:
        with path.open("rb") as file:
            skipped = None
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                if only_last_step and b'"evaluation"' not in line:
                    skipped = number, line
                    continue
                yield parse(path, number, line)
            if skipped:
                yield parse(path, *skipped)
    except FileNotFoundError:
        return
    except UserError as error:
        notes.append(str(error))
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror}")


def parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse one row of a log; raise `UserError` for an invalid one."""
    row = parse_json(line, f"{path}:{number}")
    Fields(row, f"{path}:{number}").whole("step")
    return dict(row)


def finite_numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Select the finite numbers of a row."""
    return {
        name: value
        for name, value in row.items()
        if type(value) in (int, float) and abs(value) < 1e300
    }


def count_parameters(path: Path) -> int | None:
    """Count the parameters in the header of a safetensors file; None for no valid file."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = Fields(parse_json(file.read(min(size, 1 << 27)), path), path)
        count = 0
        for name in header.values:
            shape = header.fields(name).items("shape", []) if name != "__metadata__" else [0]
            if not all(type(size) is int and 0 <= size <= LARGEST_SIZE for size in shape):
                return None
            count += math.prod(shape)
        return count
    except (OSError, UserError):
        return None
