"""Show the progress of a pass over examples: a bar in a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0
EXAMPLES_BETWEEN_UPDATES = 1000


@contextmanager
def counting(
    label: str, total: int | None = None, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function that adds to the number of examples shown on standard error.

    With a `total` the remaining time is shown, without it the rate; nothing if `quiet`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True, quiet=quiet, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=False,
    )
    task = bar.add_task(label, total=total, status="")
    begin = spoke = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, spoke
        done += count
        now = time.monotonic()
        status = pace(done, total, now - begin)
        bar.update(task, completed=done, status=status)
        if now - spoke >= SECONDS_BETWEEN_LINES and not console.is_terminal:
            of = "" if total is None else f" of {total:,}"
            console.print(f"{label} {done:,}{of}  {status}", markup=False, soft_wrap=True)
            spoke = now

    with bar:
        yield advance


def pace(done: int, total: int | None, seconds: float) -> str:
    """Format the rate, and the remaining time where `total` is known."""
    rate = f"{done / max(seconds, 1e-9):,.0f} examples/s"
    if not done or total is None:
        return rate
    return f"{rate}  {timedelta(seconds=round(seconds / done * (total - done)))} left"


def watched(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """Yield the same items, and report their number to `advance` now and then."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % EXAMPLES_BETWEEN_UPDATES == 0:
            advance(EXAMPLES_BETWEEN_UPDATES)
