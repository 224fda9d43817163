"""Shards become batches: whole documents, hidden in part, packed to a budget of tokens.

A document longer than `max_length` is cut into chunks of nearly equal length. Each chunk stands
between [CLS] and [SEP] and attends to nothing but itself. What stands in a batch, and what is
hidden there, follows from (seed, step) alone.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from plainformer.base import UserError
from plainformer.pretrain.batch import (
    Corruption,
    Counts,
    MaskedBatch,
    PackedText,
    Segment,
    with_step_counts,
)
from plainformer.pretrain.corpus import Shard
from plainformer.tokenizer import Tokenizer
from plainformer.training import Order, Replay, all_reduce_sum, by_tokens, local_indices

Rows = Int64[np.ndarray, "items 3"]
BLOCK = 1 << 14
"""tokens of a shard that are shuffled as one"""
POOL = 1 << 21
POOL_BATCHES = 64
"""tokens, and batches, whose chunks are shuffled among each other, at least"""
SAMPLE = 1 << 24
"""tokens by which a corpus is judged"""


@runtime_checkable
class TextSource(Protocol):
    """Sequences to choose from, as `training.sampler.Blocks`: `Chunks` of documents, or pairs."""

    def __len__(self) -> int:
        """How many blocks of neighbours they stand in."""

    def __getitem__(self, block: int) -> Rows:
        """Those of one block."""

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Tokens of each, at most."""

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """These, packed, shorter ones first; what is random comes from `rng`."""


@dataclass(frozen=True)
class Chunks:
    """The documents of some shards, cut to at most `max_length` tokens with [CLS] and [SEP].

    Where they are cut is computed when it is asked for, a block of a shard's tokens at a time: it
    takes no memory, and of a corpus that is larger than the memory only what is read is there.
    """

    shards: Sequence[Shard]
    tokenizer: Tokenizer
    max_length: int

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UserError(f"max_length must be at least 3, not {self.max_length}")
        if not self.shards:
            raise UserError("there are no token shards to read")

    @cached_property
    def _ends(self) -> list[int]:
        """Blocks up to the end of each shard."""
        return list(accumulate(-(-len(shard.ids) // BLOCK) for shard in self.shards))

    def __len__(self) -> int:
        """Blocks of all shards."""
        return self._ends[-1]

    def __getitem__(self, block: int) -> Rows:
        """The chunks that begin in a block: shard, first token and last token + 1 of each."""
        number = bisect_right(self._ends, block)
        low = (block - (self._ends[number - 1] if number else 0)) * BLOCK
        documents = self.shards[number].documents
        first = np.searchsorted(documents, low, side="right") - 1
        last = np.searchsorted(documents[:-1], low + BLOCK)
        starts, sizes = documents[first:last], np.diff(documents[first : last + 1])
        counts = -(-sizes // (self.max_length - 2))
        # Piece k begins at start + ⌊k · size / count⌋: the first k in the block, and behind it.
        begin, end = (
            -(-(bound - starts).clip(0, sizes) * counts // sizes) for bound in (low, low + BLOCK)
        )
        document = np.repeat(np.arange(len(sizes)), end - begin)
        places = np.arange(len(document)) + (end - np.cumsum(end - begin))[document]
        starts, sizes, counts = starts[document], sizes[document], counts[document]
        cuts = [starts + place * sizes // counts for place in (places, places + 1)]
        return np.stack([np.full(len(document), number), *cuts], axis=1)

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Tokens of each chunk, [CLS] and [SEP] included."""
        lengths: Int64[np.ndarray, " items"] = items[:, 2] - items[:, 1] + 2
        return lengths

    def tokens(self, chunk: Sequence[int]) -> Segment:
        """The tokens of one chunk, without [CLS] and [SEP], and where its words begin."""
        number, first, last = chunk
        shard = self.shards[number]
        return shard.ids[first:last], shard.words[first:last]

    def document(self, chunk: Sequence[int]) -> tuple[int, int]:
        """Shard and number of the document that a chunk is of."""
        number, first, _ = chunk
        documents = self.shards[number].documents
        return number, int(np.searchsorted(documents, first, side="right"))

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """These chunks, packed, shorter ones first."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        return PackedText.packed([[self.tokens(chunk)] for chunk in items.tolist()], self.tokenizer)


@dataclass(frozen=True)
class MaskedBatches:
    """Step → its micro-batches: a function of (seed, step), without end."""

    source: TextSource
    corrupt: Corruption
    batch_tokens: int
    micro_batches: int = 1
    seed: int = 0
    replay: Replay | None = None

    @cached_property
    def order(self) -> Order:
        """Which chunks make up each step."""
        return by_tokens(
            self.source,
            self.source.lengths,
            self.batch_tokens,
            pool=max(POOL, POOL_BATCHES * self.batch_tokens) // BLOCK,
            seed=self.seed,
            micro_batches=self.micro_batches,
            replay=self.replay,
        )

    def __call__(self, step: int) -> list[MaskedBatch]:
        """The micro-batches of `step` (from 0) that are this process's own."""
        items = self.order(step)
        own = [self.batch(step, number, items[number]) for number in local_indices(len(items))]
        counts = Counts.of(own)
        among = Counts(*all_reduce_sum(counts.tokens, counts.targets, counts.sequences))
        return with_step_counts(own, among)

    def batch(self, step: int, number: int, items: Rows) -> MaskedBatch:
        """Micro-batch `number` of `step`, of these chunks."""
        rng = np.random.default_rng([self.seed, step, number])
        return self.corrupt(self.source.text(items, rng), rng, step)


def fixed_batches(
    source: TextSource, corrupt: Corruption, batch_tokens: int, limit: int
) -> Iterator[MaskedBatch]:
    """About `limit` tokens of held-out text under masks that never change: comparable anywhere."""
    batches = MaskedBatches(source, corrupt, batch_tokens, seed=0)
    seen = 0
    for step in count():
        if seen >= limit or batches.order.epoch(step) > 0:
            return
        (items,) = batches.order(step)
        seen += int(source.lengths(items).sum())
        yield batches.batch(step, 0, items)


def unigram_entropy(shards: Sequence[Shard]) -> float:
    """Entropy of the tokens, in nats: the loss of a model that knows frequencies and no context.

    Of a large corpus, that of `SAMPLE` tokens in blocks that stand evenly over it.
    """
    apart = BLOCK * -(-sum(len(shard.ids) for shard in shards) // SAMPLE)
    counts = np.zeros(0, np.int64)
    for shard in shards:
        for first in range(0, len(shard.ids), apart):
            seen = np.bincount(shard.ids[first : first + BLOCK], minlength=len(counts))
            seen[: len(counts)] += counts
            counts = seen
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
