"""Processes for the tests of files: killed at any moment, or alive beside this one."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

SYSTEM = ("open", "os.", "shutil.", "tempfile.", "fcntl.", "test.")


def dies_at(number: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that kills itself before its `number`-th call of the system.

    Returns whether it was killed: False when it came to its end before that.
    """
    if (child := os.fork()) == 0:
        calls = count(1)

        def hook(event: str, _: Any) -> None:
            if event.startswith(SYSTEM) and next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), "the work failed"
    return status != 0


def half_way() -> None:
    """Be a moment at which `dies_at` may kill."""
    sys.audit("test.half_way")


@contextmanager
def another_process_in(block: Callable[[], AbstractContextManager[object]]) -> Iterator[int]:
    """Run this block while another process is within `block()`; it is killed at the end."""
    is_inside, inside = os.pipe()
    if (child := os.fork()) == 0:
        try:
            with block():
                os.write(inside, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.close(inside)
    try:
        assert os.read(is_inside, 1) == b"!", "the other process could not enter"
        yield child
    finally:
        os.close(is_inside)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
