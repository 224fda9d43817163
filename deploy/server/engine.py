"""Compute the texts of all clients in shared batches: for each model a queue, and its threads.

    engine = Engine(compute)                      # compute: items → a result for each
    results = engine.submit(items).result()       # in the order of the items

A batch takes an item of each waiting request in turn, up to a number of tokens, so a long request
delays no short one. The first item waits a few milliseconds for others, unless they already fill a
batch. Several threads may take batches from the queue: those that are free share what waits. Where
a batch fails, its requests are computed one by one, and only the faulty one fails. A request whose
future was cancelled is not computed.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol

from plainformer.finetune.data.batch import BATCH_TOKENS

Compute = Callable[[Sequence[Any]], Sequence[Any]]
OnBatch = Callable[[int, int, float, float], None]
"""A function that is called with the texts and tokens of a batch, the seconds that its first text
waited, and the seconds it took."""


class Sized(Protocol):
    """An item of a request, with its size."""

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens."""
        ...


class QueueFull(Exception):
    """Raised for a request that would make the queue too long."""


class Closed(Exception):
    """Raised for a request to an engine that was closed."""


class Request:
    """The items of a request, and the results that are there."""

    def __init__(self, items: Sequence[Sized]) -> None:
        self.items = items
        self.taken = 0
        """The number of items that were put into batches."""
        self.missing = len(items)
        self.results: list[Any] = [None] * len(items)
        self.done: Future[list[Any]] = Future()

    def put(self, index: int, result: Any) -> bool:
        """Store a result; return whether it was the last one."""
        self.results[index] = result
        self.missing -= 1
        return not self.missing

    def finish(self) -> None:
        """Complete the request with its results."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_result(self.results)

    def fail(self, error: BaseException) -> None:
        """End the request by an error."""
        if not self.done.done() and self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)


Parts = list[tuple[Request, int]]
"""The items of a batch: each by its request and its index there."""


class Engine:
    """A queue of requests, and the threads that compute them."""

    def __init__(
        self,
        compute: Compute,
        batch_tokens: int = BATCH_TOKENS,
        wait: float = 0.002,
        queue: int = 4096,
        on_batch: OnBatch | None = None,
        workers: int = 1,
    ) -> None:
        self._compute, self._on_batch = compute, on_batch
        self._batch_tokens, self._wait, self._queue = batch_tokens, wait, queue
        self._requests: deque[Request] = deque()
        self._tokens = self._texts = 0
        """Of the items that wait."""
        self._since = 0.0
        """The time at which the first waiting item came."""
        self._free = workers
        """The number of threads that wait for a batch."""
        self._closing = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"model-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Return the number of texts that wait."""
        return self._texts

    @property
    def busy(self) -> int:
        """Return the number of threads that compute."""
        return len(self._threads) - self._free

    def submit(self, items: Sequence[Sized]) -> "Future[list[Any]]":
        """Queue the items of a request; return the future of their results, in order.

        An empty queue takes a request of any size. Raises `QueueFull`, and `Closed` after `close`.
        """
        request = Request(items)
        if not items:
            request.done.set_result([])
            return request.done
        with self._changed:
            if self._closing:
                raise Closed
            if self._texts + len(items) > self._queue:
                self._forget_given_up()
            if self._texts and self._texts + len(items) > self._queue:
                raise QueueFull
            is_first = not self._requests
            if is_first:
                self._since = monotonic()
            self._requests.append(request)
            self._count(items, 1)
            if is_first or self._tokens >= self._batch_tokens:  # else the thread waits for more
                self._changed.notify()
        return request.done

    def close(self) -> None:
        """Refuse new requests; the threads end when they have computed those that wait."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the threads."""
        for thread in self._threads:
            thread.join(timeout)

    def _count(self, items: Sequence[Sized], sign: int) -> None:
        self._texts += sign * len(items)
        self._tokens += sign * sum(item.num_tokens for item in items)

    def _forget_given_up(self) -> None:
        """Remove the requests that were given up, or have failed."""
        for request in [request for request in self._requests if request.done.done()]:
            self._count(request.items[request.taken :], -1)
            self._requests.remove(request)

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            parts, waited = batch
            if parts:
                self._answer(parts, waited)
            del batch, parts  # their texts are not kept until the next batch
            with self._changed:
                self._free += 1

    def _next(self) -> tuple[Parts, float] | None:
        """Wait for a batch, and return it with the seconds that its first text waited.

        None when the engine is closed and all is computed.
        """
        with self._changed:
            while True:
                while not self._requests:
                    if self._closing:
                        return None
                    self._changed.wait()
                left = self._since + self._wait - monotonic()
                if self._tokens >= self._batch_tokens or self._closing or left <= 0:
                    break
                self._changed.wait(left)
            waited = monotonic() - self._since
            parts = self._pick(-(-self._texts // self._free))
            self._free -= 1
            if self._requests and self._free:
                self._changed.notify()
            return parts, waited

    def _pick(self, most: int) -> Parts:
        """Take an item of each request in turn, until the batch is full or has `most` items."""
        parts: Parts = []
        tokens = 0
        while self._requests and len(parts) < most:
            request = self._requests[0]
            if request.done.done():  # given up, or failed
                self._forget_given_up()
                continue
            item = request.items[request.taken]
            if parts and tokens + item.num_tokens > self._batch_tokens:
                break
            self._requests.popleft()
            parts.append((request, request.taken))
            request.taken += 1
            tokens += item.num_tokens
            self._count([item], -1)
            if request.taken < len(request.items):
                self._requests.append(request)
        return parts

    def _answer(self, parts: Parts, waited: float) -> None:
        """Compute a batch, and hand out its results or its error."""
        items = [request.items[index] for request, index in parts]
        begin = monotonic()
        try:
            results = list(self._compute(items))
            if len(results) != len(items):
                raise RuntimeError(f"{len(items)} items have {len(results)} results")
        except BaseException as error:  # a panic in a Rust library is not an Exception
            requests = list(dict.fromkeys(request for request, _ in parts))
            if len(requests) == 1:
                with self._changed:
                    requests[0].fail(error)
            else:
                for one in requests:
                    self._answer([part for part in parts if part[0] is one], waited)
            return
        if self._on_batch is not None:
            tokens = sum(item.num_tokens for item in items)
            self._on_batch(len(items), tokens, waited, monotonic() - begin)
        pairs = zip(parts, results, strict=True)
        with self._changed:  # two batches may hold texts of one request
            whole = [request for (request, index), result in pairs if request.put(index, result)]
        for request in whole:  # without the lock, which each new request needs
            request.finish()
