"""Which items make up a step: a pure function of (seed, step), with every item once an epoch.

Epoch e walks over `permutation(n, seed, e)` and cuts it into micro-batches; the micro-batches of
all epochs stand in one long row, and step s takes the k of them from s · k on. Nothing is carried
from step to step: what is cached can be computed again at any step, so a resumed run sees the very
items that an unbroken one would.
"""

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
from jaxtyping import Int, Int64

from cellar import UserError

Items = Int64[np.ndarray, "items"]


def permutation(n: int, seed: int, epoch: int) -> Int64[np.ndarray, "{n}"]:
    """Return the order of `n` items in `epoch`, another one for each epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def by_tokens(
    lengths: Int[np.ndarray, "n"], budget: int, *, seed: int, micro_batches: int = 1
) -> "Order":
    """Fill each micro-batch with whole items, in order, up to `budget` tokens (next fit).

    `lengths`: tokens of each item. A step takes `micro_batches` of them. Raises UserError for an
    item that exceeds the budget.
    """
    if len(lengths) and lengths.max() > budget:
        longest = int(lengths.argmax())
        raise UserError(
            f"item {longest} has {lengths[longest]} tokens, more than the {budget} of a batch: "
            "raise the tokens of a batch, or cut the item"
        )

    def cut(items: Items) -> list[int]:
        ends = np.concatenate([[0], np.cumsum(lengths[items], dtype=np.int64)])
        # For every place where a micro-batch could start: the place where it would be full.
        full = (np.searchsorted(ends, ends + budget, side="right") - 1).tolist()
        bounds = [0]
        while bounds[-1] < len(items):
            bounds.append(full[bounds[-1]])
        return bounds

    return Order(len(lengths), cut, seed, micro_batches)


def by_items(n: int, batch_size: int, *, seed: int, micro_batches: int = 1) -> "Order":
    """Give each micro-batch `batch_size` of `n` items; the last of an epoch has what is left."""
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}")
    return Order(n, lambda items: [*range(0, n, batch_size), n], seed, micro_batches)


class Order:
    """Maps a step to the item indices of its micro-batches; made by `by_tokens` or `by_items`."""

    def __init__(
        self, n: int, cut: Callable[[Items], list[int]], seed: int, micro_batches: int
    ) -> None:
        if n < 1:
            raise UserError("there is nothing to train on: no items")
        if micro_batches < 1:
            raise UserError(f"a step needs at least 1 micro-batch, not {micro_batches}")
        self._n, self._cut, self._seed, self._micro_batches = n, cut, seed, micro_batches
        self._ends: list[int] = []  # micro-batches up to the end of each epoch seen so far
        self._cached: tuple[int, Items, list[int]] | None = None

    def __call__(self, step: int) -> list[Items]:
        """Return the items of each micro-batch of `step` (from 0)."""
        first = step * self._micro_batches
        return [self._micro_batch(first + i) for i in range(self._micro_batches)]

    def epoch(self, step: int) -> int:
        """Return the epoch (from 0) in which `step` begins."""
        return self._epoch_of(step * self._micro_batches)

    def steps(self, epochs: int) -> int:
        """Return the number of steps that see every item `epochs` times."""
        self._look_ahead(epochs)
        return -(-self._ends[epochs - 1] // self._micro_batches) if epochs > 0 else 0

    def _micro_batch(self, index: int) -> Items:
        epoch = self._epoch_of(index)
        items, bounds = self._epoch(epoch)
        place = index - (self._ends[epoch - 1] if epoch else 0)
        return items[bounds[place] : bounds[place + 1]]

    def _epoch_of(self, index: int) -> int:
        while not self._ends or self._ends[-1] <= index:
            self._look_ahead(len(self._ends) + 1)
        return bisect_right(self._ends, index)

    def _look_ahead(self, epochs: int) -> None:
        while len(self._ends) < epochs:
            _, bounds = self._epoch(len(self._ends))
            self._ends.append((self._ends[-1] if self._ends else 0) + len(bounds) - 1)

    def _epoch(self, epoch: int) -> tuple[Items, list[int]]:
        """The permutation of an epoch and the bounds of its micro-batches; the last is cached."""
        if self._cached is None or self._cached[0] != epoch:
            items = permutation(self._n, self._seed, epoch)
            self._cached = epoch, items, self._cut(items)
        return self._cached[1:]
