"""Ctrl-C that waits for a good moment to leave."""

import signal
import threading
from types import FrameType
from typing import Never


class Interruption:
    """Within its block, the first SIGINT or SIGTERM is only remembered; the second acts at once.

    True once a signal has come; never outside the main thread, where Python gives no signals.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._handlers: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self._signal is not None

    def leave(self, message: str) -> Never:
        """Raise what the remembered signal asks for: KeyboardInterrupt, or SystemExit(143)."""
        if self._signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt(message)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        again = self._signal is not None
        self._signal = number
        if again:
            self.leave("stopped at once")
