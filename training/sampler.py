"""Choose the items of a step: a pure function of (seed, step), with every item once an epoch.

    epoch e = pools 0, 1, …
    pool p  = the blocks at p·w … (p+1)·w of a shuffle of all blocks, their items shuffled in turn

Each pool is cut into micro-batches. With those of all pools in one sequence, step s takes the k
micro-batches from s·k on. A pool consists of blocks of neighbouring items, drawn from all of them:
a fair sample that is read mostly sequentially. Items to replay are in blocks of their own after the
others; each pool draws some of them.

One pool is in memory, and of earlier pools only the number of their micro-batches, which a resumed
run counts again. There is no state from step to step, so a resumed run sees the same items as an
unbroken one, and so does every process.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Int64

from plainformer.base import UserError
from plainformer.training.shuffle import Shuffle

Items = Int64[np.ndarray, "..."]
"""Items as numbers, or as rows of numbers."""
POOL_BATCHES = 1024
"""Micro-batches of a pool of equal numbers of items."""


@runtime_checkable
class Blocks(Protocol):
    """All items, in blocks of neighbouring items."""

    def __len__(self) -> int:
        """Return the number of blocks."""

    def __getitem__(self, block: int) -> Items:
        """Return the items of a block, which may be empty."""


@dataclass(frozen=True)
class Replay:
    """Old items to replay: the blocks from `first` on, as a `share` of each pool's tokens.

    Old items among new ones keep what was learned from them (experience replay: Rolnick et al.
    2019, arXiv:1811.11682; of pretraining: Ibrahim et al. 2024, arXiv:2403.08763).
    """

    first: int
    share: float


def by_tokens(
    blocks: Blocks,
    lengths: Callable[[Items], Int[np.ndarray, " items"]],
    budget: int,
    *,
    pool: int = 1,
    seed: int,
    micro_batches: int = 1,
    replay: Replay | None = None,
) -> "Order":
    """Fill each micro-batch with whole items, in order, up to `budget` tokens (next fit).

    `lengths` gives the tokens of items. `pool` blocks are shuffled together; the last micro-batch
    of a pool has what is left. A step takes `micro_batches`. With a `replay`, epochs are those of
    the items that are not old. An item that exceeds the budget raises UserError when its pool is
    read.
    """
    count = len(blocks) if replay is None else replay.first

    def fill(epoch: int, number: int) -> list[Items]:
        places = np.arange(number * pool, min((number + 1) * pool, count))
        chosen = Shuffle(count, seed, epoch)(places).tolist()
        items = np.concatenate([blocks[block] for block in chosen])
        if replay is not None and replay.share > 0:
            tokens = replay.share / (1 - replay.share) * lengths(items).sum()
            rng = np.random.default_rng([seed, epoch, number, 1])
            items = np.concatenate([items, _old(blocks, count, lengths, pool, tokens, rng)])
        items = items[np.random.default_rng([seed, epoch, number]).permutation(len(items))]
        return _next_fit(items, lengths(items), budget)

    return Order(-(-count // pool), fill, micro_batches)


def _old(
    blocks: Blocks,
    first: int,
    lengths: Callable[[Items], Int[np.ndarray, " items"]],
    pool: int,
    tokens: float,
    rng: np.random.Generator,
) -> Items:
    """Draw items of about `tokens` tokens from `pool` of the blocks from `first` on."""
    count = len(blocks) - first
    drawn = (blocks[first + block] for block in rng.permutation(count).tolist())
    found = list(islice((items for items in drawn if len(items)), pool))
    if not found:
        raise UserError("there is nothing to replay: no items")
    items = np.concatenate(found)
    items = items[rng.permutation(len(items))]
    ends = np.cumsum(lengths(items))
    times, rest = divmod(tokens, max(ends[-1], 1))
    last = items[: np.searchsorted(ends, rest) + (rest > 0)]
    return np.concatenate([*[items] * int(times), last])


def by_items(n: int, batch_size: int, *, seed: int, micro_batches: int = 1) -> "Order":
    """Give each micro-batch `batch_size` of `n` items; the last of an epoch has what is left."""
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}")
    pool = batch_size * POOL_BATCHES

    def fill(epoch: int, number: int) -> list[Items]:
        places = np.arange(number * pool, min((number + 1) * pool, n))
        items = Shuffle(n, seed, epoch)(places)
        return [items[first : first + batch_size] for first in range(0, len(items), batch_size)]

    return Order(-(-n // pool), fill, micro_batches)


def _next_fit(items: Items, lengths: Int[np.ndarray, " items"], budget: int) -> list[Items]:
    if len(lengths) and lengths.max() > budget:
        raise UserError(
            f"an item has {lengths.max()} tokens, more than the {budget} of a batch: "
            "raise the tokens of a batch, or cut the item"
        )
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    # For every item with which a micro-batch could start: the end of that micro-batch.
    full = np.searchsorted(ends, ends + budget, side="right") - 1
    bounds = [0]
    while bounds[-1] < len(items):
        bounds.append(int(full[bounds[-1]]))
    return [items[first:last] for first, last in pairwise(bounds)]


class Order:
    """Map a step to the items of its micro-batches; built by `by_tokens` or `by_items`.

    `fill(epoch, pool)` gives the micro-batches of one of the `pools` of an epoch.
    """

    def __init__(
        self, pools: int, fill: Callable[[int, int], list[Items]], micro_batches: int
    ) -> None:
        if pools < 1:
            raise UserError("there is nothing to train on: no items")
        if micro_batches < 1:
            raise UserError(f"a step needs at least 1 micro-batch, not {micro_batches}")
        self._pools, self._fill, self._micro_batches = pools, fill, micro_batches
        self._ends: list[int] = []  # micro-batches up to the end of each pool seen so far
        self._cached: tuple[int, list[Items]] | None = None

    def __call__(self, step: int) -> list[Items]:
        """Return the items of each micro-batch of `step` (from 0)."""
        first = step * self._micro_batches
        return [self._micro_batch(first + i) for i in range(self._micro_batches)]

    def epoch(self, step: int) -> int:
        """Return the epoch (from 0) in which `step` begins."""
        return self._pool_of(step * self._micro_batches) // self._pools

    def steps(self, epochs: int) -> int:
        """Return the number of steps that see every item `epochs` times; all pools are read."""
        if epochs < 1:
            return 0
        self._count(epochs * self._pools)
        return -(-self._ends[epochs * self._pools - 1] // self._micro_batches)

    def _micro_batch(self, index: int) -> Items:
        pool = self._pool_of(index)
        return self._filled(pool)[index - (self._ends[pool - 1] if pool else 0)]

    def _pool_of(self, index: int) -> int:
        """Return the pool of a micro-batch, counted through all epochs."""
        while not self._ends or self._ends[-1] <= index:
            self._count(len(self._ends) + 1)
        return bisect_right(self._ends, index)

    def _count(self, pools: int) -> None:
        for pool in range(len(self._ends), pools):
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + len(self._filled(pool)))
            if pool + 1 == self._pools and not self._ends[-1]:
                raise UserError("there is nothing to train on: no items")

    def _filled(self, pool: int) -> list[Items]:
        """Return the micro-batches of a pool; the last result is cached."""
        if self._cached is None or self._cached[0] != pool:
            self._cached = pool, self._fill(*divmod(pool, self._pools))
        return self._cached[1]
