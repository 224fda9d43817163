"""How far a pass over examples is: a bar in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

LINE_EVERY = 10.0
"""seconds from line to line, where there is no terminal"""
TOLD_EVERY = 1000
"""examples of which a reader tells at once"""


@contextmanager
def counting(
    label: str, total: int | None = None, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Give a function that is told of so many more examples, and shows them on standard error.

    With a `total` there is a time left; without, the count and the rate. Nothing when `quiet`.
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
        if now - spoke >= LINE_EVERY and not console.is_terminal:
            of = "" if total is None else f" of {total:,}"
            console.print(f"{label} {done:,}{of}  {status}", markup=False, soft_wrap=True)
            spoke = now

    with bar:
        yield advance


def pace(done: int, total: int | None, seconds: float) -> str:
    """How fast it goes, and how long it will take where that is known."""
    rate = f"{done / max(seconds, 1e-9):,.0f} examples/s"
    if not done or total is None:
        return rate
    return f"{rate}  {timedelta(seconds=round(seconds / done * (total - done)))} left"


def watched(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """The same items; `advance` is told of them as they pass, many at a time."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % TOLD_EVERY == 0:
            advance(TOLD_EVERY)
