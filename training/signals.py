"""Signals that wait for a good moment to leave: Ctrl-C, and what a scheduler sends before it kills.

SIGINT    KeyboardInterrupt (130)      Ctrl-C
SIGTERM   SystemExit(143)              the time is over, or another job goes first
SIGUSR1   SystemExit(138)              as SLURM gives notice: --signal=USR1@120
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from plainformer.training.distributed import world_size

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ECHO = 1.0
"""seconds in which a second Ctrl-C is the first once more: torchrun hands it on to its processes,
to which the terminal has sent it already"""


class _GivenUp(BaseException):
    """Ends the block that a signal is not to wait for."""


class Interruption:
    """Within its block the first signal is only remembered; a second Ctrl-C acts at once.

    True once a signal has come; never outside the main thread, where Python gives no signals.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._since = 0.0
        self._waits = True
        self._handlers: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._handlers[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self._signal is not None

    @contextmanager
    def gives_up(self) -> Iterator[None]:
        """End its block as soon as a signal comes: for long work that can be done again."""
        self._waits = world_size() > 1  # what one ends, all would have to end
        try:
            yield
        except _GivenUp:
            pass
        finally:
            self._waits = True

    def leave(self, message: str) -> Never:
        """Raise what the remembered signal asks for: KeyboardInterrupt, or SystemExit."""
        if self._signal is None or self._signal == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(128 + self._signal)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal, self._since = number, time.monotonic()
            if not self._waits:
                raise _GivenUp
        elif number == signal.SIGINT and time.monotonic() - self._since > ECHO:
            self.leave("stopped at once")
