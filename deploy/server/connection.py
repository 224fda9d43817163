"""Close a connection on which no whole request arrives.

uvicorn closes a connection that rests between two requests. Here one is closed, too, that never
sends a request, or sends the head of one without end: each would hold a file of the process, and
the latter its memory.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 65_536
"""Bytes of the head of a request, or of what stands between the parts of a body."""


class PatientConnection(HttpToolsProtocol):
    """An HTTP connection that bounds the size and the time of a request's head."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        """Bytes that came since the last head or part of a body."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read some bytes; wait for the rest of a head."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")
        self._wait()

    def on_headers_complete(self) -> None:
        """Count unread bytes anew after a whole head."""
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count unread bytes anew after a part of a body."""
        self._unread = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer of a closed connection."""
        super().connection_lost(exc)
        self._stop()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # the head is there
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
