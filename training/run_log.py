"""Log a run: losses in log.jsonl, speed in speed.jsonl, and a progress line.

log.jsonl is the same for every run with the same seed; speed.jsonl never is. Numbers stay on the
device for half a second: reading one makes the CPU wait for the GPU.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from plainformer.base import UserError, nan_to_null
from plainformer.training.checkpoint import State
from plainformer.training.curve import draw_curve
from plainformer.training.distributed import is_main
from plainformer.training.progress import TrainingProgress
from plainformer.training.spikes import IN_A_ROW
from plainformer.training.step import Step
from plainformer.training.trackers import ToolName, trackers

INTERVAL = 0.5  # seconds from flush to flush
DRAW_EVERY = 60.0  # seconds from curve to curve


class Lines:
    """A JSONL file, truncated to `length` bytes and appended to by the main process alone."""

    def __init__(self, path: Path, length: int) -> None:
        if not is_main():
            path, length = Path(os.devnull), 0
        path.touch()
        if path.stat().st_size < length:
            raise UserError(f"{path} is shorter than its checkpoint says: it was cut or replaced")
        if is_main():
            os.truncate(path, length)
        self._file = path.open("ab")

    def write(self, row: dict[str, Any]) -> None:
        """Append `row`; NaN and infinity become null."""
        self._file.write(json.dumps(nan_to_null(row)).encode() + b"\n")

    def flush(self) -> int:
        """Flush the buffer; return the length in bytes."""
        self._file.flush()
        return self._file.tell()

    def sync(self) -> None:
        """Wait until the flushed bytes are on the disk (fsync)."""
        if is_main():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Record:
    """Write the steps and evaluations of a run into `out`, and display them.

    `peak`: the peak rate of all devices, in operations per second. `track`: the trackers that get
    the numbers, too.
    """

    def __init__(
        self,
        out: Path,
        state: State,
        display: TrainingProgress,
        peak: float | None = None,
        on_spike: Literal["ignore", "skip", "stop"] = "ignore",
        track: Sequence[ToolName] = (),
        loss_label: str = "loss",
    ) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {out}: {error.strerror}") from error
        self._out, self._state, self._display, self._peak = out, state, display, peak
        self._on_spike, self._loss_label = on_spike, loss_label
        self._drawn = time.monotonic()
        # First: once there is a log, the run has begun, and cannot be tried again.
        self._trackers = trackers(track, out, state.step)
        self._log = Lines(out / "log.jsonl", state.log_bytes)
        self._speed = Lines(out / "speed.jsonl", state.speed_bytes)
        self._pending: list[Step] = []
        self._tokens, self._steps, self._since = state.tokens, state.step, time.perf_counter()

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for tracker in self._trackers:
                stack.callback(tracker.close)
            stack.callback(self._speed.close)
            stack.callback(self._log.close)

    def add(self, step: Step) -> None:
        """Add a step, to be written within half a second."""
        self._pending.append(step)
        if step.skipped or time.perf_counter() - self._since >= INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write the pending steps, and the time they took.

        Raises UserError when a loss or a gradient is no longer a finite number, or is a spike at
        which to stop.
        """
        if not self._pending:
            return
        means: dict[str, float] = {}
        tokens = self._tokens
        for step in self._pending:
            means = {name: _mean(value, step.count) for name, value in step.sums.items()}
            norm = float(step.grad_norm)
            tokens += step.tokens
            row = {
                "step": step.step,
                **means,
                "learning_rate": step.learning_rate,
                "grad_norm": norm,
                "tokens": tokens,
            }
            if step.loss_scale:
                row["loss_scale"] = step.loss_scale
            if step.skipped:
                row["skipped"] = True
            self._log.write(row)
            self._judge(step, means["loss"], norm)
        last, flops = self._pending[-1], sum(step.flops for step in self._pending)
        self._pending.clear()
        elapsed = time.perf_counter() - self._since
        rate = (tokens - self._tokens) / elapsed
        speed = {
            "step": last.step,
            "seconds": round(elapsed, 4),
            "tokens_per_second": round(rate, 1),
        }
        if self._peak:
            speed["flops_per_second"] = round(flops / elapsed)
            speed["utilisation"] = round(flops / elapsed / self._peak, 4)
        self._speed.write(speed)
        self._tell(last.step, "training", row)
        self._tell(last.step, "speed", speed)
        self._state.seconds += elapsed
        self._display.update(
            last.step,
            means=means,
            tokens_per_second=rate,
            utilisation=speed.get("utilisation"),
            seconds_per_step=elapsed / (last.step - self._steps),
            learning_rate=last.learning_rate,
        )
        self._tokens, self._steps = tokens, last.step
        self._state.log_bytes = self._log.flush()
        self._state.speed_bytes = self._speed.flush()
        self.restart_clock()

    def _tell(self, step: int, prefix: str, numbers: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            named = {f"{prefix}/{k}": v for k, v in numbers.items() if k not in ("step", "skipped")}
            tracker.add(step, named)

    def _judge(self, step: Step, loss: float, norm: float) -> None:
        """Report a skipped step; raise UserError for a loss or gradient that ends the run."""
        what = f"step {step.step}: the loss is {loss:g}, the gradient norm {norm:g}"
        advice = "try a lower learning rate, a longer warm-up or --precision fp32"
        spikes = self._state.spikes
        if step.skipped and step.loss_scale and not math.isfinite(norm):
            count = self._state.loss_scale.overflows
            self._display.say(
                f"{what}, too large for fp16: it is left out ({count} so far), and the loss scale "
                f"of {step.loss_scale:g} halved"
            )
        elif step.skipped:
            self._display.say(f"{what}: it is left out")
            if spikes.in_a_row == IN_A_ROW:
                raise UserError(f"{what}: {IN_A_ROW} steps in a row were left out: {advice}")
        elif not math.isfinite(norm) or (step.count and not math.isfinite(loss)):
            raise UserError(
                f"{what}: {advice}, or --resume from the last checkpoint with --on-spike skip"
            )
        elif self._on_spike == "stop" and step.count and spikes.see(loss=loss, grad_norm=norm):
            raise UserError(
                f"{what}, a spike: go on from the last checkpoint with --resume, and leave it out "
                f"with --on-spike skip, or {advice}"
            )

    def sync(self) -> None:
        """Flush, and wait until the logs are on the disk: a checkpoint refers to their lengths."""
        self.flush()
        self._log.sync()
        self._speed.sync()

    def evaluation(self, metrics: Mapping[str, float], *, best: bool) -> None:
        """Write an evaluation of the current weights."""
        self._log.write({"step": self._state.step, "evaluation": dict(metrics)})
        self._state.log_bytes = self._log.flush()
        self._tell(self._state.step, "held_out", metrics)
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._display.say(f"step {self._state.step}: {numbers}{'  (best)' if best else ''}")
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self.draw()

    def draw(self) -> None:
        """Plot the log so far as curve.png."""
        if is_main():
            log, png = self._out / "log.jsonl", self._out / "curve.png"
            draw_curve(log, png, self._display.label, self._loss_label)
        self._drawn = time.monotonic()

    def restart_clock(self) -> None:
        """Exclude the time since the last flush (evaluation, saving) from the rate."""
        self._since = time.perf_counter()


def _mean(value: float | Tensor, count: int) -> float:
    return float(value) / count if count else math.nan
