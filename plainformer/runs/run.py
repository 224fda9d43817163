"""Read a run from the files in its folder.

    options.json          how it was asked for        log.jsonl     steps and evaluations
    held_out.json         what it is measured on      speed.jsonl   seconds and tokens
    metrics.json          what it came to             *.safetensors the model: the run is finished

Any of them may be missing, half written or of another program: then there is a note about it, and
what the others tell.
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

OPTIONS, LOG, SPEED = "options.json", "log.jsonl", "speed.jsonl"
WEIGHTS = "model.safetensors"
"""The file of weights: in the folder of a finished run, and in each checkpoint."""
HELD_OUT, METRICS, SUMMARY = "held_out.json", "metrics.json", "summary.json"
LARGEST_SIZE = 2**40
QUIET_AFTER = 120.0
"""seconds after which a log that does not grow is that of a run that has stopped"""

State = Literal["finished", "running", "stopped", "begun"]


class Evaluation(NamedTuple):
    """What was measured on held-out text after a step."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """What is in `folder`; read it with `Run.of`."""

    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    steps: int = 0
    """optimizer steps taken"""
    tokens: int = 0
    seconds: float = 0.0
    """spent on training proper: no evaluation, no saving"""
    measured_on: Mapping[str, Any] | None = None
    """fingerprints of what its losses are measured on; None where the run has none"""
    written: float = 0.0
    """when something of it was last written, in seconds since 1970"""
    has_ended: bool = False
    notes: tuple[str, ...] = ()
    """what could not be read, a line each"""

    @classmethod
    def of(cls, folder: Path) -> "Run":
        """Read what there is."""
        notes: list[str] = []
        options = read_object(folder / OPTIONS, notes)
        last: dict[str, Any] = {}
        evaluations = []
        for row in rows(folder / LOG, notes, but_last_of_steps=True):
            if isinstance(row.get("evaluation"), dict):
                evaluations.append(Evaluation(row["step"], numbers(row["evaluation"])))
            else:
                last = row
        speeds = [row for row in rows(folder / SPEED, notes) if "seconds" in row]
        known = [folder / name for name in (OPTIONS, LOG, SPEED, METRICS)]
        return cls(
            folder=folder,
            options=options or {},
            evaluations=tuple(evaluations),
            steps=int(last.get("step", 0)),
            tokens=int(numbers(last).get("tokens", 0)),
            seconds=sum(numbers(row).get("seconds", 0.0) for row in speeds),
            measured_on=read_object(folder / HELD_OUT, notes),
            written=max((path.stat().st_mtime for path in known if path.exists()), default=0.0),
            has_ended=(folder / METRICS).exists() or (folder / WEIGHTS).exists(),
            notes=tuple(notes),
        )

    @property
    def stage(self) -> str:
        """pretrain mlm, finetune tagging …; "" where the options do not say."""
        objective = self.options.get("objective")
        if "corpus" in self.options and isinstance(objective, list):
            return " ".join(["pretrain", *map(str, objective)])
        return f"finetune {self.options['task']}" if "task" in self.options else ""

    @property
    def model(self) -> str:
        """The preset, or the folder that the run began with."""
        begun_with = self.options.get("model") or self.options.get("preset") or ""
        return Path(str(begun_with)).name

    @cached_property
    def parameters(self) -> int | None:
        """Numbers in the model, or in its newest checkpoint; None before the first is written."""
        checkpoints = sorted(self.folder.glob(f"checkpoints/step-*/{WEIGHTS}"))
        for path in (self.folder / WEIGHTS, *reversed(checkpoints)):
            count = count_numbers(path)
            if count is not None:
                return count
        return None

    @property
    def all_steps(self) -> int | None:
        """Steps that were asked for."""
        training = self.options.get("training")
        steps = training.get("steps") if isinstance(training, dict) else None
        return steps if isinstance(steps, int) else None

    @property
    def state(self) -> State:
        """Whether it has come to its end, and if not, whether its log grew lately."""
        if self.has_ended:
            return "finished"
        if time.time() - self.written < QUIET_AFTER:
            return "running"
        return "stopped" if self.steps else "begun"

    @property
    def judged_by(self) -> str:
        """The metric that says most: the loss of pretraining, the first score of a task."""
        metrics = list(self.evaluations[-1].metrics) if self.evaluations else []
        scores = [name for name in metrics if name != "loss"]
        return scores[0] if scores and self.stage.startswith("finetune") else "loss"

    def last(self, name: str) -> float | None:
        """The newest held-out value."""
        return self.values(name)[-1][1] if self.values(name) else None

    def best(self, name: str) -> tuple[int, float] | None:
        """The best held-out value, and the step that it was measured after."""
        values = self.values(name)
        sign = 1 if lower_is_better(name) else -1
        return min(values, key=lambda pair: sign * pair[1], default=None)

    def values(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of each evaluation that has the metric."""
        return [(e.step, e.metrics[name]) for e in self.evaluations if name in e.metrics]

    def training_losses(self) -> list[tuple[int, float]]:
        """(step, loss) of each step that was taken."""
        found = (
            (row["step"], numbers(row).get("loss"))
            for row in rows(self.folder / LOG, [])
            if "evaluation" not in row
        )
        return [(step, loss) for step, loss in found if loss is not None]

    def clock(self) -> list[tuple[int, float, float]]:
        """(step, tokens, seconds) from the beginning on, wherever the speed was noted."""
        points = [(0, 0.0, 0.0)]
        for row in rows(self.folder / SPEED, []):
            values = numbers(row)
            _, tokens, seconds = points[-1]
            spent = values.get("seconds", 0.0)
            tokens += spent * values.get("tokens_per_second", 0.0)
            points.append((row["step"], tokens, seconds + spent))
        return points


def find_runs(folder: Path) -> list[Run]:
    """The runs in a folder and below it, the one that was last written to last.

    A folder of several runs stands for these, not for one of its own.
    """
    found = []
    for name, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("checkpoints", "tokens") and f[0] != "."]
        is_several = SUMMARY in files and bool(folders)
        if (LOG in files or OPTIONS in files) and not is_several:
            found.append(Run.of(Path(name)))
    return sorted(found, key=lambda run: (run.written, run.folder))


def lower_is_better(name: str) -> bool:
    """Whether a metric of this name is better when it is smaller."""
    return name.endswith(("loss", "perplexity", "error"))


def read_object(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """The object in a JSON file; None, and a note where there is a file, if there is none."""
    try:
        return read_json(path) if path.exists() else None
    except UserError as error:
        notes.append(str(error))
        return None


def rows(path: Path, notes: list[str], but_last_of_steps: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a log up to the first that is none, with a note of that.

    The last line of a log that is being written may be cut: it is left out. `but_last_of_steps`:
    only evaluations and the last step, so that a log of a million steps is read in a moment.
    """
    try:
        with path.open("rb") as file:
            skipped = None
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                if but_last_of_steps and b'"evaluation"' not in line:
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


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What is a number in a row, and one to reckon with."""
    return {
        name: value
        for name, value in row.items()
        if type(value) in (int, float) and abs(value) < 1e300
    }


def count_numbers(path: Path) -> int | None:
    """How many numbers a safetensors file holds, by its header; None where there is none."""
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
