"""Show the progress of a run: a live bar in a terminal, else a line now and then."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

LINE_EVERY = 10.0  # seconds, where there is no terminal


class Display:
    """The progress of a run of `steps` steps, shown on standard error unless `quiet`."""

    def __init__(self, label: str, steps: int, *, quiet: bool = False) -> None:
        self.label, self._steps = label, steps
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),  # narrow: less bar, no less text
            TextColumn("{task.fields[status]}", markup=False),
            console=self._console,
            expand=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=steps, status="")
        self._spoke = time.monotonic()
        self._pace: float | None = None

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(
        self,
        step: int,
        *,
        means: Mapping[str, float],
        tokens_per_second: float,
        utilisation: float | None,
        seconds_per_step: float,
        learning_rate: float,
    ) -> None:
        """Show the state of the run after `step` steps."""
        self._pace = (
            seconds_per_step if self._pace is None else (0.9 * self._pace + 0.1 * seconds_per_step)
        )
        accuracy = next((means[name] for name in means if name.endswith("accuracy")), None)
        status = "  ".join(
            [
                f"loss {means['loss']:.3f}",
                *([] if accuracy is None else [f"acc {accuracy:.0%}"]),
                f"{_short(tokens_per_second)} tok/s",
                *([] if utilisation is None else [f"{utilisation:.0%} of peak"]),
                f"lr {learning_rate:.1e}".replace("e-0", "e-"),
                f"{_clock((self._steps - step) * self._pace)} left",
            ]
        )
        self._bar.update(self._task, completed=step, status=status)
        due = time.monotonic() - self._spoke >= LINE_EVERY or step == self._steps
        if due and not self._console.is_terminal:
            self.say(f"{self.label} {step}/{self._steps}  {status}")

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self._console.print(line, markup=False, soft_wrap=True)
        self._spoke = time.monotonic()


def _short(number: float) -> str:
    """Format a number: 987, 12.3k, 1.25M."""
    if number < 1e3:
        return f"{number:.0f}"
    return f"{number / 1e3:.1f}k" if number < 1e6 else f"{number / 1e6:.2f}M"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}" if hours else f"{minutes}:{seconds:02d}"
