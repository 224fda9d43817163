"""Show the progress of long work on standard error: a live bar, or lines without a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Literal, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

ItemT = TypeVar("ItemT")

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_A_BAR = 2.0
ITEMS_BETWEEN_UPDATES = 1000


class ProgressBar:
    """A bar of `total` units with a status behind it; without a terminal a line now and then."""

    def __init__(
        self, label: str, total: int | None, *, quiet: bool = False, transient: bool = True
    ) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._is_live = self._console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),  # in a narrow terminal: less bar, no less text
            TextColumn("{task.fields[status]}", markup=False),
            console=self._console,
            expand=True,
            transient=transient,
            redirect_stdout=False,
            disable=quiet or not self._is_live,
        )
        self._label = label
        self._task = self._bar.add_task(label, total=total, status="")
        self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, status: str, *, is_last: bool = False) -> None:
        """Show how much is done; a line is printed at the end and every ten seconds."""
        self._bar.update(self._task, completed=done, status=status)
        is_due = time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES
        if (is_due or is_last) and not self._is_live:
            self.say(f"{self._label} {status}")

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self._console.print(line, markup=False, soft_wrap=True)
        self._last_line = time.monotonic()


@contextmanager
def counting(
    label: str,
    total: int | None = None,
    done: int = 0,
    *,
    unit: Literal["examples", "bytes"] = "examples",
    quiet: bool = False,
) -> Iterator[Callable[[int], None]]:
    """Yield a function that adds to the count, which begins at the `done` of an earlier run.

    The status has the rate, and the time left where the total is known.
    """
    start = time.monotonic()
    added = 0

    def advance(count: int) -> None:
        nonlocal added
        added += count
        bar.update(done + added, describe_pace(done, added, total, time.monotonic() - start, unit))

    with ProgressBar(label, total, quiet=quiet) as bar:
        yield advance


@contextmanager
def late_bar(label: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that adds to a count of `unit`; a bar shows it if the work takes long."""
    start, done = time.monotonic(), 0
    bar: ProgressBar | None = None

    def advance(count: int) -> None:
        nonlocal bar, done
        done += count
        if bar is None and time.monotonic() - start >= SECONDS_BEFORE_A_BAR:
            bar = stack.enter_context(ProgressBar(label, None))
        if bar is not None:
            bar.update(done, f"{done:,} {unit}")

    with ExitStack() as stack:
        yield advance


def describe_pace(
    done: int, added: int, total: int | None, seconds: float, unit: Literal["examples", "bytes"]
) -> str:
    """Format what is done, the rate of what this run added, and the time left."""
    rate = added / max(seconds, 1e-9)
    of = "" if total is None else f" of {amount(total, unit)}"
    text = f"{amount(done + added, unit)}{of}{' MB' if unit == 'bytes' else ''}"
    text += f"  {rate / 1e6:.1f} MB/s" if unit == "bytes" else f"  {rate:,.0f} examples/s"
    if total is None or not added:
        return text
    left = timedelta(seconds=round(max(total - done - added, 0) / rate))
    return f"{text}  {left} left"


def amount(count: int, unit: Literal["examples", "bytes"]) -> str:
    """Format a number of examples, or of bytes in megabytes."""
    return f"{count / 1e6:,.1f}" if unit == "bytes" else f"{count:,}"


def watched(items: Iterable[ItemT], advance: Callable[[int], None]) -> Iterator[ItemT]:
    """Yield the same items, and report their number to `advance` now and then."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % ITEMS_BETWEEN_UPDATES == 0:
            advance(ITEMS_BETWEEN_UPDATES)
