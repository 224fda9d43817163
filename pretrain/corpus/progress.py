"""Show the progress of reading in bytes: a bar in a terminal, else a line every ten seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_EVERY = 10.0
"""Seconds between lines without a terminal."""


@contextmanager
def reading(
    label: str, total: int | None, done: int = 0, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of bytes just read; show it on standard error.

    `done` bytes were read in an earlier run. With a `total` the time left is estimated.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
    )
    bar = Progress(
        *columns, console=console, disable=quiet or not console.is_terminal, transient=True
    )
    task = bar.add_task(label, total=total, completed=done, status="")
    began = spoke = time.monotonic()
    now_read = 0

    def advance(count: int) -> None:
        nonlocal now_read, spoke
        now_read += count
        now = time.monotonic()
        status = pace(done, now_read, total, now - began)
        bar.update(task, completed=done + now_read, status=status)
        if now - spoke >= LINE_EVERY and not console.is_terminal:
            console.print(f"{label} {status}", markup=False, soft_wrap=True)
            spoke = now

    with bar:
        yield advance


def pace(done: int, now_read: int, total: int | None, seconds: float) -> str:
    """Write how much has been read, how fast, and the time left where the total is known."""
    rate = now_read / max(seconds, 1e-9)
    read = f"{(done + now_read) / 1e6:,.1f}"
    if total is None or not now_read:
        return f"{read} MB  {rate / 1e6:.1f} MB/s"
    left = timedelta(seconds=round(max(total - done - now_read, 0) / rate))
    return f"{read} of {total / 1e6:,.1f} MB  {rate / 1e6:.1f} MB/s  {left} left"
