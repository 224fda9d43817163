"""Every text gets its own result, in order, whatever else waits, fails or is given up."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.deploy.server.engine import Closed, Engine, QueueFull
from plainformer.finetune.data.batch import Item


@dataclass(frozen=True)
class Number(Item):
    """An item that is a number, and takes the room of so many tokens."""

    value: int = 0
    size: int = 1

    @property
    def num_tokens(self) -> int:
        return self.size


def item(value: int, size: int = 1) -> Number:
    return Number((), value=value, size=size)


def squares(items: Any) -> list[int]:
    return [each.value**2 for each in items]


class Paused:
    """A computation that waits for a sign, and remembers its batches."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def __call__(self, items: Any) -> list[int]:
        self.batches.append([each.value for each in items])
        self.begun.release()
        assert self.go_on.acquire(timeout=10)
        return squares(items)


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.001]),
    st.sampled_from([1, 3]),
)
def test_nothing_is_lost_or_reordered(requests, wait, workers):
    """Random requests of several threads, of items of many sizes; no batch is too large."""
    sizes = []
    engine = Engine(squares, 10, wait, on_batch=lambda n, t, *_: sizes.append(t), workers=workers)
    with ThreadPoolExecutor(4) as pool:
        submitted = pool.map(lambda some: engine.submit([item(v, v) for v in some]), requests)
        for values, future in zip(requests, submitted, strict=True):
            assert future.result(10) == [value**2 for value in values]
    engine.close()
    engine.join(10)
    assert engine.waiting == 0 and max(sizes, default=0) <= 10
    assert sum(sizes) == sum(map(sum, requests))


def test_free_threads_share_what_waits():
    """The first batch leaves half of the texts to the other thread, which computes meanwhile."""
    compute = Paused()
    engine = Engine(compute, batch_tokens=100, wait=0.1, workers=2)
    future = engine.submit([item(v) for v in range(6)])
    for _ in range(2):
        assert compute.begun.acquire(timeout=10)
    assert engine.busy == 2
    assert sorted(map(len, compute.batches)) == [3, 3]
    compute.go_on.release(2)
    assert future.result(10) == [v**2 for v in range(6)]
    engine.close()
    engine.join(10)
    assert engine.busy == 0


def test_a_long_request_delays_no_short_one():
    compute = Paused()
    engine = Engine(compute, batch_tokens=4, wait=0)
    first = engine.submit([item(0)])
    assert compute.begun.acquire(timeout=10)
    long, short = engine.submit([item(n) for n in range(10, 20)]), engine.submit([item(5)])
    for _ in range(4):
        compute.go_on.release()
    assert short.result(10) == [25] and first.result(10) == [0]
    assert long.result(10) == [n * n for n in range(10, 20)]
    assert compute.batches[1] == [10, 5, 11, 12]


def test_texts_wait_for_others_but_not_when_they_fill_a_batch():
    batches = []

    def compute(items: Any) -> list[int]:
        batches.append(len(items))
        return squares(items)

    engine = Engine(compute, batch_tokens=4, wait=30)
    futures = [engine.submit([item(n)]) for n in range(4)]
    assert [future.result(10) for future in futures] == [[n * n] for n in range(4)]
    assert batches == [4]
    last = engine.submit([item(9)])
    engine.close()  # it waits no more, and is computed
    assert last.result(10) == [81]


def test_only_the_faulty_request_fails():
    def compute(items: Any) -> list[float]:
        return [1 / each.value for each in items]

    engine = Engine(compute, batch_tokens=4, wait=30)
    good, bad, other = (engine.submit([item(v)]) for v in (1, 0, 2))
    more = engine.submit([item(4)])
    assert good.result(10) == [1] and other.result(10) == [0.5] and more.result(10) == [0.25]
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    engine.close()
    short = Engine(lambda items: [], wait=0)
    with pytest.raises(RuntimeError, match="1 items have 0 results"):
        short.submit([item(1)]).result(10)
    with pytest.raises(RuntimeError):  # the thread lives on
        short.submit([item(1)]).result(10)
    short.close()


def test_what_was_given_up_is_not_computed():
    compute = Paused()
    engine = Engine(compute, batch_tokens=4, wait=0)
    first = engine.submit([item(1)])
    assert compute.begun.acquire(timeout=10)
    given_up, kept = engine.submit([item(2), item(3)]), engine.submit([item(4)])
    assert given_up.cancel()
    compute.go_on.release()
    compute.go_on.release()
    assert first.result(10) == [1] and kept.result(10) == [16]
    assert compute.batches == [[1], [4]] and engine.waiting == 0
    with pytest.raises(CancelledError):
        given_up.result(10)
    engine.close()


def test_the_queue_is_bounded_and_closing_finishes_what_waits():
    compute = Paused()
    engine = Engine(compute, batch_tokens=2, wait=0, queue=3)
    first = engine.submit([item(1)])
    assert compute.begun.acquire(timeout=10)
    waiting = engine.submit([item(2), item(3)])
    with pytest.raises(QueueFull):
        engine.submit([item(4), item(5)])
    last = engine.submit([item(6)])
    assert engine.waiting == 3
    engine.close()
    with pytest.raises(Closed):
        engine.submit([item(7)])
    for _ in range(3):
        compute.go_on.release()
    assert [f.result(10) for f in (first, waiting, last)] == [[1], [4, 9], [36]]
    engine.join(10)


def test_an_empty_queue_takes_a_request_that_is_longer():
    """Such as as many texts as a request may have, and the query that ranks them."""
    engine = Engine(squares, batch_tokens=100, wait=0, queue=1)
    assert engine.submit([item(2), item(3)]).result(10) == [4, 9]
    engine.close()
