"""Work that several processes share comes back in order."""

import os
import signal
from collections.abc import Callable

import pytest

from plainformer.base import UserError
from plainformer.pretrain.corpus.worker_pool import in_order


def double(x: int) -> int:
    if x == 60:
        raise UserError("sixty")
    if x == 66:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def doubling() -> Callable[[int], int]:
    return double


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_in_order_and_never_far_ahead_until_one_raises(workers):
    taken = 0

    def stream():
        nonlocal taken
        for number in range(14, 80):
            taken = number
            yield number

    results = in_order(doubling, (), stream(), workers)
    for number in range(14, 60):
        assert next(results) == (number, 2 * number)
        assert taken <= number + 2 * workers + 1
    with pytest.raises(UserError, match=r"^sixty$"):
        next(results)
    assert taken < 70


def test_a_worker_that_is_killed_is_told_of():
    with pytest.raises(UserError, match=r"a worker process has ended.*fewer workers"):
        list(in_order(doubling, (), range(61, 80), 2))
