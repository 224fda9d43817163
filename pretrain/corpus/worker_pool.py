"""Map a function over a stream in several processes, in order and with bounded memory.

Processes are spawned: a fork would inherit locks that threads of PyTorch hold, and never release
them. A script that calls this therefore needs `if __name__ == "__main__":`, see `multiprocessing`.
Workers end with their parent.
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
"""Items in progress for each process, including finished ones that wait for their turn."""


def cores() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    make: Callable[..., Callable[[T], R]],
    arguments: tuple[Any, ...],
    items: Iterable[T],
    workers: int,
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with its result, in the order of the items.

    The function is `make(*arguments)`, made in each process; a single worker is this process. Its
    exceptions are raised here; `UserError` when a process was killed. Close the iterator to end all
    processes.
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
    """Block Ctrl-C; a process that is started meanwhile ignores it for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any]
"""The function of this worker process."""


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
