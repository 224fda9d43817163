"""A function over a stream, in several processes: bounded, in order, and ended with this one.

Processes are started afresh (spawn): a copy of this one (fork) would inherit locks that threads of
PyTorch hold, and nobody would release. So a script that calls this has its work under
`if __name__ == "__main__":`, as `multiprocessing` asks for.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from plainformer.base import UserError

T = TypeVar("T")
R = TypeVar("R")

WAITING = 2
"""items for each process that are under way, or done and not yet asked for"""


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    make: Callable[..., Callable[[T], R]],
    arguments: tuple[Any, ...],
    items: Iterable[T],
    workers: int,
) -> Generator[tuple[T, R], None, None]:
    """Give each item with what a function makes of it, in the order of the items.

    The function is `make(*arguments)`, made anew in each process; a single worker is this process.
    What it raises is raised here; UserError when a process was killed. Close the iterator to end
    them all.
    """
    if workers == 1:
        function = make(*arguments)
        for item in items:
            yield item, function(item)
        return
    executor = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(make, *arguments),
    )
    pending: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            with _uninterrupted():  # this may start a process
                pending.append((item, executor.submit(_call, item)))
            if len(pending) > WAITING * workers:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process has ended before its time, perhaps for lack of memory: try fewer "
            'workers (in a script of your own, put the call under `if __name__ == "__main__":`)'
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait; a process that is started meanwhile never hears of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any]
"""what this process does with an item"""


def _begin(make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
    global _function
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function = make(*arguments)


def _call(item: Any) -> Any:
    return _function(item)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
