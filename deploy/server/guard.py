"""Check a request before its route sees it, and end it where nobody waits for it any more.

    token → body (size, time) → route, until it answers, its time is over, or the client is gone

A body that is too long is read to its end, but not kept: a client hears the reason only once it has
sent its request. What a route has begun is cancelled, so that texts still waiting are not computed.
"""

import asyncio
import hmac
from collections.abc import Collection
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plainformer.deploy.server.errors import KINDS, Refused, error_reply
from plainformer.deploy.server.limits import Limits
from plainformer.deploy.server.metrics import Metrics

GONE = 499


class Sent:
    """A `send` that remembers the status of the response, and whether it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.complete = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.complete = True


class Guard:
    """An application in front of another one."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        counted: Collection[str],
        token: str | None = None,
        open_to_all: Collection[str] = (),
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._counted = counted
        """The routes whose requests are counted."""
        self._open = open_to_all
        """The routes that need no token."""
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, sent, route = monotonic(), Sent(send), scope["path"]
        is_counted = scope["method"] == "POST" and route in self._counted
        status = 500
        if is_counted:
            self._metrics.of_arrival(route)
        try:
            await self._answer(scope, receive, sent)
            status = sent.status
        except Refused as error:
            status = error.status_code
            if not sent.status and status != GONE:
                response = error_reply(status, str(error.detail), error.headers)
                await response(scope, receive, sent)
        finally:
            if is_counted:
                failure = None if status == 200 else KINDS.get(status, "error")
                self._metrics.of_request(route, failure, monotonic() - begin)

    async def _answer(self, scope: Scope, receive: Receive, sent: Sent) -> None:
        self._check_token(scope)
        body = await self._body(scope, receive)
        is_first = True

        async def replay() -> Message:
            nonlocal is_first
            if is_first:
                is_first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        task, is_gone = asyncio.current_task(), False
        assert task is not None

        async def watch() -> None:
            nonlocal is_gone
            while (await receive())["type"] != "http.disconnect":
                pass
            if not sent.complete:
                is_gone = True
                task.cancel()

        watcher = asyncio.ensure_future(watch())
        try:
            async with asyncio.timeout(self._limits.timeout):
                await self._app(scope, replay, sent)
        except TimeoutError:
            if sent.complete:
                raise
            late = f"not answered within {self._limits.timeout:g} s: try again"
            raise Refused(504, late) from None
        except asyncio.CancelledError:
            if not is_gone:  # the server ends
                raise
            task.uncancel()
            raise Refused(GONE, "the client closed the connection") from None
        finally:
            watcher.cancel()

    def _check_token(self, scope: Scope) -> None:
        if self._token is None or scope["path"] in self._open:
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], self._token):
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            raise Refused(401, "send the token: Authorization: Bearer …", headers)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the body; raise `Refused` for one that is too long or too slow."""
        body = bytearray()
        size, most, close = 0, self._limits.max_body, {"Connection": "close"}
        too_large = Refused(413, f"the body has more than {most:,} bytes", close)
        try:
            async with asyncio.timeout(self._limits.timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(GONE, "the client closed the connection")
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= most:
                        body += part
                    else:
                        body.clear()
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            late = f"the body did not arrive within {self._limits.timeout:g} s"
            raise (too_large if size > most else Refused(408, late, close)) from None
        if size > most:
            raise too_large
        return bytes(body)
