"""Check a request before its route sees it, and end it where nobody waits for it any more.

    token → body (size, time) → route, until it answers, its time is over, or the client is gone

A route that takes JSON is called by itself, any other in the layers of FastAPI.
A body that is too long is read to its end, but not kept: a client hears the reason only once it has
sent its request. What a route has begun is cancelled, so that texts still waiting are not computed.
"""

import asyncio
import hmac
from collections.abc import Collection, Mapping
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plainformer.deploy.server.errors import KINDS, Refused, error_reply, internal_error
from plainformer.deploy.server.limits import Limits
from plainformer.deploy.server.metrics import Metrics
from plainformer.deploy.server.routes.body import StrictRoute

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


def again(body: bytes, receive: Receive) -> Receive:
    """Return what receives a body that was read already, and then what follows."""
    first = True

    async def received() -> Message:
        nonlocal first
        if not first:
            return await receive()
        first = False
        return {"type": "http.request", "body": body, "more_body": False}

    return received


class Guard:
    """An application in front of another one."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        routes: Mapping[str, StrictRoute],
        token: str | None = None,
        open_to_all: Collection[str] = (),
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._routes = routes
        """The routes that take JSON, by their paths; their requests are counted."""
        self._open = open_to_all
        """The routes that need no token."""
        self._token = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, sent, path = monotonic(), Sent(send), scope["path"]
        route = self._routes.get(path) if scope["method"] == "POST" else None
        status = 500
        if route is not None:
            self._metrics.of_arrival(path)
        try:
            await self._answer(scope, receive, sent, route)
            status = sent.status
        except Refused as error:
            status = error.status_code
            if not sent.status and status != GONE:
                response = error_reply(status, str(error.detail), error.headers)
                await response(scope, receive, sent)
        finally:
            if route is not None:
                failure = None if status == 200 else KINDS.get(status, "error")
                self._metrics.of_request(path, failure, monotonic() - begin)

    async def _answer(
        self, scope: Scope, receive: Receive, sent: Sent, route: StrictRoute | None
    ) -> None:
        self._check_token(scope)
        body = await self._body(scope, receive)
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
                if route is not None:
                    await respond(route, scope, receive, sent, body)
                else:
                    await self._app(scope, again(body, receive), sent)
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


async def respond(
    route: StrictRoute, scope: Scope, receive: Receive, sent: Sent, body: bytes
) -> None:
    """Send the answer of a route; send that there is a fault in it, and raise the fault."""
    try:
        response = await route.answer(Headers(scope=scope), body)
    except Exception as error:
        await internal_error(error)(scope, receive, sent)
        raise
    await response(scope, receive, sent)
