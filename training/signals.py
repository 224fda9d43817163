"""Defer signals to the end of a step: Ctrl-C, and those of a scheduler before it kills a job.

SIGINT    KeyboardInterrupt (130)      Ctrl-C
SIGTERM   SystemExit(143)              end of the time limit, or preemption
SIGUSR1   SystemExit(138)              notice by SLURM: --signal=USR1@120
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
"""Seconds within which a second Ctrl-C counts as the first: the terminal sends it to all processes,
and torchrun forwards it to them again."""


class _GivenUp(BaseException):
    """Raised by a signal to end a `gives_up` context."""


class Interruption:
    """A context that records the first signal; a second Ctrl-C acts at once.

    True after a signal. Never true outside the main thread, where Python delivers no signals.
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
        """End the context at a signal: for long work that can be repeated."""
        self._waits = world_size() > 1  # several processes could not end the context together
        try:
            yield
        except _GivenUp:
            pass
        finally:
            self._waits = True

    def leave(self, message: str) -> Never:
        """Raise the exception of the recorded signal: KeyboardInterrupt or SystemExit."""
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
