"""Compute what shares no batch, in one thread for all models.

    weights = await models.aside.run(lambda: token_attention(encoder, encoding, layer))

The shared batches go on in the threads of their models. Since there is one such thread, requests of
this kind take turns, and however many there are, they compete with the batches as one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from plainformer.deploy.server.errors import Refused

T = TypeVar("T")

QUEUE = 64
"""The most requests that may wait."""


class Aside:
    """A thread, and the number of requests that wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "aside")
        self._waiting = 0

    async def run(self, compute: Callable[[], T]) -> T:
        """Call a function in the thread; raise `Refused` where too many wait.

        What is cancelled before its turn is not computed.
        """
        if self._waiting >= QUEUE:
            raise Refused(429, "too many requests wait: try again", {"Retry-After": "1"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, compute)
        finally:
            self._waiting -= 1
