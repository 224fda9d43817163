"""Ask a server from many connections at once, with little work for each request.

    python benchmarks/serving_client.py PORT TEXTS.json OUT.json [--clients 64] [--seconds 3]

Each connection sends a text of the JSON list, waits for the answer, and sends the next one, until
the time is over. OUT.json receives the answers, each with its text's number and its seconds.
"""

import argparse
import asyncio
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import uvloop

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, requests: list[bytes], end: float, seed: int) -> None:
        self.requests, self.end, self.rng = requests, end, random.Random(seed)
        self.answers: list[tuple[int, float, int, str]] = []
        """The number of the text, the seconds, the status and the body of each answer."""
        self.lost = 0
        self.finished = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the next request; after the end, close."""
        if time.perf_counter() >= self.end:
            self.finished.set_result(None)
            self.transport.close()
            return
        self.number = self.rng.randrange(len(self.requests))
        self.begin = time.perf_counter()
        self.transport.write(self.requests[self.number])

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        found = LENGTH.search(self.buffer, 0, head) if head >= 0 else None
        if found is None or len(self.buffer) < head + 4 + int(found[1]):
            return
        status, body = int(self.buffer[9:12]), self.buffer[head + 4 :].decode()
        self.answers.append((self.number, time.perf_counter() - self.begin, status, body))
        self.buffer.clear()
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember a request that was not answered."""
        if not self.finished.done():
            self.lost = 1
            self.finished.set_result(None)


async def ask_all(port: int, texts: list[str], clients: int, seconds: float, seed: int) -> Any:
    """Run all connections; return what they heard."""
    requests = []
    for text in texts:
        body = json.dumps({"inputs": [text]}).encode()
        head = (
            f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    loop, begin = asyncio.get_running_loop(), time.perf_counter()
    made = [Client(requests, begin + seconds, 1000 * seed + number) for number in range(clients)]
    for client in made:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.finished for client in made))
    return {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time(),
        "lost": sum(client.lost for client in made),
        "answers": [answer for client in made for answer in client.answers],
    }


def main() -> None:
    """Ask, and write what was heard."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    texts = json.loads(given.texts.read_text(encoding="utf-8"))
    asked = ask_all(given.port, texts, given.clients, given.seconds, given.seed)
    given.out.write_text(json.dumps(uvloop.run(asked)), encoding="utf-8")


if __name__ == "__main__":
    main()
