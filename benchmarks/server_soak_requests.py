"""Send requests to a server, good and bad, and check what it answers (for `server_soak.py`).

A good request (`Question`) is answered with 200 and the values known before. Of the bad ones
(`BAD`) each has its status, or ends its connection; those that are only slow, pipelined or sent in
pieces are good ones, and are answered like them.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

PATIENCE = 60.0
"""Seconds to wait for an answer."""
TOLERANCE = 2e-5
LARGE = 10_000_000


@dataclass(frozen=True)
class Question:
    """A good request, and the answer that is right."""

    route: str
    body: bytes
    answer: Any

    @property
    def raw(self) -> bytes:
        """Return the request as it is sent."""
        return post(self.route, self.body)

    def check(self, answer: "Answer") -> str | None:
        """Return what is wrong with an answer; None for the right one."""
        if answer.status != 200:
            return f"{self.route}: status {answer.status}: {answer.body[:200]!r}"
        if not same(json.loads(answer.body), self.answer):
            return f"{self.route}: another answer to {self.body[:200]!r}: {answer.body[:200]!r}"
        return None


@dataclass(frozen=True)
class Answer:
    """The status, the head and the body of a response."""

    status: int
    head: bytes
    body: bytes


@dataclass
class Connection:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> Answer:
        """Read one answer; raise `ConnectionError` where the server closes the connection first."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"closed after {error.partial[:80]!r}") from None
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        body = await self.reader.readexactly(int(fields[b"content-length"]))
        return Answer(int(head[9:12]), head, body)

    async def ask(self, raw: bytes) -> Answer:
        """Send a request and read its answer."""
        self.writer.write(raw)
        await self.writer.drain()
        return await self.read()


@dataclass(frozen=True)
class Server:
    """The address of the server."""

    host: str
    port: int

    @asynccontextmanager
    async def connection(self) -> Any:
        """Open a connection, and close it."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 24)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def same(found: Any, wanted: Any) -> bool:
    """Compare two JSON values; numbers may differ by `TOLERANCE`."""
    if isinstance(wanted, np.ndarray):
        return np.shape(found) == wanted.shape and bool(np.abs(found - wanted).max() < TOLERANCE)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float):
        return abs(found - wanted) < TOLERANCE
    return bool(found == wanted)


def post(
    route: str, body: bytes, kind: str = "application/json", length: int | None = None
) -> bytes:
    """Write a POST request, which may state another length than it has."""
    size = len(body) if length is None else length
    head = f"POST {route} HTTP/1.1\r\nHost: soak\r\nContent-Type: {kind}\r\nContent-Length: {size}"
    return f"{head}\r\n\r\n".encode() + body


Bad = Callable[[Server, Question, random.Random], Awaitable[str | None]]
"""A function that sends one bad request, and returns what was wrong with the answer."""


def refused(status: int, make: Callable[[Question, random.Random], bytes]) -> Bad:
    """Send what `make` writes; the answer has the `status`, and an error in JSON."""

    async def send(server: Server, question: Question, rng: random.Random) -> str | None:
        async with server.connection() as connection:
            raw = make(question, rng)
            answer = await connection.ask(raw)
            said = json.loads(answer.body)
            if answer.status != status or not said["error"]["message"]:
                return f"{status} expected for {raw[:120]!r}: {answer.status} {answer.body[:200]!r}"
        return None

    return send


async def leave_in_the_body(server: Server, question: Question, rng: random.Random) -> str | None:
    """Close the connection before the request has arrived."""
    async with server.connection() as connection:
        connection.writer.write(question.raw[: rng.randrange(1, len(question.raw))])
        await connection.writer.drain()
    return None


async def leave_before_the_answer(
    server: Server, question: Question, rng: random.Random
) -> str | None:
    """Close the connection, or reset it, when the request has arrived."""
    async with server.connection() as connection:
        connection.writer.write(question.raw)
        await connection.writer.drain()
        await asyncio.sleep(rng.choice([0, 0.001, 0.01]))
        if rng.random() < 0.5:
            connection.writer.transport.abort()
    return None


async def drip(server: Server, question: Question, rng: random.Random) -> str | None:
    """Send a good request in small pieces; it is answered."""
    raw, pieces = question.raw, rng.randint(5, 25)
    cuts = [0, *sorted(rng.sample(range(1, len(raw)), pieces)), len(raw)]
    async with server.connection() as connection:
        for begin, end in pairwise(cuts):
            connection.writer.write(raw[begin:end])
            await connection.writer.drain()
            await asyncio.sleep(rng.uniform(0, 0.2))
        return question.check(await connection.read())


async def read_slowly(server: Server, question: Question, rng: random.Random) -> str | None:
    """Read a good answer a few bytes at a time."""
    async with server.connection() as connection:
        connection.writer.write(question.raw)
        await connection.writer.drain()
        connection.reader._limit = 64  # the transport stops reading beyond twice as much
        await asyncio.sleep(rng.uniform(0, 2))
        connection.reader._limit = 1 << 24
        return question.check(await connection.read())


async def never_end(server: Server, question: Question, rng: random.Random) -> str | None:
    """Promise more bytes than are sent; the server says that they are late, or the head is."""
    raw = post(question.route, question.body, length=len(question.body) + 1)
    async with server.connection() as connection:
        connection.writer.write(raw)
        answer = await connection.read()
        return None if answer.status == 408 else f"408 expected, not {answer.status}"


async def pipeline(server: Server, question: Question, rng: random.Random) -> str | None:
    """Send several good requests at once; the answers come in order, on one connection."""
    async with server.connection() as connection:
        connection.writer.write(question.raw + get("/nowhere") + question.raw + get("/health"))
        wrong = question.check(await connection.read())
        statuses = [(await connection.read()).status]
        wrong = wrong or question.check(await connection.read())
        statuses.append((await connection.read()).status)
        return wrong or (None if statuses == [404, 200] else f"pipelined: {statuses}")


async def chunks(server: Server, question: Question, rng: random.Random) -> str | None:
    """Send a good body in chunks, without its length."""
    parts = [question.body[i : i + 7] for i in range(0, len(question.body), 7)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = f"POST {question.route} HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
    async with server.connection() as connection:
        raw = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + coded
        return question.check(await connection.ask(raw))


async def garbage(server: Server, question: Question, rng: random.Random) -> str | None:
    """Send what is no HTTP, alone or behind a good request, whose answer may be cut off."""
    noise = b"\x16\x03\x01 " + rng.randbytes(rng.randint(1, 2000)) + b"\r\n\r\n"
    async with server.connection() as connection:
        connection.writer.write(noise)
        with suppress(ConnectionError):  # closed without a word
            answer = await asyncio.wait_for(connection.reader.read(100), PATIENCE)
            if answer and b" 400 " not in answer:
                return f"400 expected for garbage, not {answer!r}"
    return None


def get(route: str, method: str = "GET") -> bytes:
    """Write a request without a body."""
    return f"{method} {route} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()


def changed(question: Question, **fields: Any) -> bytes:
    """Write a good request with other fields."""
    body = {**json.loads(question.body), **fields}
    return post(question.route, json.dumps(body).encode())


WRONG_JSON: Sequence[Callable[[Question, random.Random], bytes]] = (
    lambda q, rng: q.body[: rng.randrange(1, len(q.body))],
    lambda q, rng: q.body + b"]",
    lambda q, rng: b'{"inputs": ["' + rng.randbytes(20).replace(b'"', b"") + b'\xff"]}',
    lambda q, rng: b"[" * 5000 + b"]" * 5000,
    lambda q, rng: b'{"inputs": ["\\ud800"]}',
    lambda q, rng: b'{"inputs": [' + b"1" * 5000 + b"]}",
)

BAD: dict[str, Bad] = {
    "wrong JSON": refused(400, lambda q, rng: post(q.route, rng.choice(WRONG_JSON)(q, rng))),
    "control characters": refused(
        400, lambda q, rng: post(q.route, b'{"inputs": ["a%cb"]}' % rng.randrange(32))
    ),
    "unknown field": refused(422, lambda q, rng: changed(q, truncate=True)),
    "wrong type": refused(422, lambda q, rng: changed(q, inputs=rng.choice([3, [3], [], None]))),
    "no JSON object": refused(422, lambda q, rng: post(q.route, rng.choice([b"", b"[]", b"3"]))),
    "other content": refused(422, lambda q, rng: post(q.route, q.body, "text/plain")),
    "unknown model": refused(404, lambda q, rng: changed(q, model=str(rng.random()))),
    "unknown route": refused(404, lambda q, rng: post(f"/{rng.random()}", q.body)),
    "wrong method": refused(
        405, lambda q, rng: get(q.route, rng.choice(["GET", "PUT", "DELETE", "PATCH"]))
    ),
    "too many texts": refused(413, lambda q, rng: changed(q, inputs=["a"] * 257)),
    "10 MB": refused(413, lambda q, rng: post(q.route, b"a" * LARGE)),
    "left in the body": leave_in_the_body,
    "left before the answer": leave_before_the_answer,
    "in small pieces": drip,
    "read slowly": read_slowly,
    "without an end": never_end,
    "pipelined": pipeline,
    "in chunks": chunks,
    "garbage": garbage,
}
RARE = {"10 MB": 0.1, "without an end": 0.1}
"""The weight of a kind among the bad ones, by default 1."""
