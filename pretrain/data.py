"""Make batches of token shards: whole documents, corrupted, packed to a budget of tokens.

A document longer than `max_length` is cut into chunks of nearly equal length. Each chunk is
enclosed in [CLS] and [SEP] and attends to itself only. The content of a batch and its corruption
are a function of (seed, step).
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
"""Shard, first token and last token + 1 of each chunk."""
BLOCK = 1 << 14
"""Tokens of a shard that are shuffled as one block."""
POOL, POOL_BATCHES = 1 << 21, 64
"""Minimum size of the shuffle buffer, in tokens and in batches."""
ENTROPY_SAMPLE = 1 << 24
"""Tokens from which the unigram entropy is estimated."""


@runtime_checkable
class TextSource(Protocol):
    """Items to sample (`training.sampler.Blocks`): `Chunks` of documents, or `SegmentPairs`."""

    def __len__(self) -> int:
        """Return the number of blocks of neighbouring items."""

    def __getitem__(self, block: int) -> Rows:
        """Return the items of one block."""

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Return the largest number of tokens of each item."""

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """Pack these items, shorter ones first; randomness comes from `rng`."""


@dataclass(frozen=True)
class Chunks:
    """The documents of some shards, cut to at most `max_length` tokens with [CLS] and [SEP].

    The cuts are computed on access, for one block of a shard at a time: they take no memory, and
    only the accessed part of a corpus is read.
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
        """Return the number of blocks up to the end of each shard."""
        return list(accumulate(-(-len(shard.ids) // BLOCK) for shard in self.shards))

    def __len__(self) -> int:
        """Return the number of blocks of all shards."""
        return self._ends[-1]

    def __getitem__(self, block: int) -> Rows:
        """Return the chunks that begin in a block."""
        number = bisect_right(self._ends, block)
        low = (block - (self._ends[number - 1] if number else 0)) * BLOCK
        documents = self.shards[number].documents
        first = np.searchsorted(documents, low, side="right") - 1
        last = np.searchsorted(documents[:-1], low + BLOCK)
        starts, sizes = documents[first:last], np.diff(documents[first : last + 1])
        counts = -(-sizes // (self.max_length - 2))
        # Chunk k begins at start + ⌊k · size / count⌋: the first k in the block, and after it.
        begin, end = (
            -(-(bound - starts).clip(0, sizes) * counts // sizes) for bound in (low, low + BLOCK)
        )
        document = np.repeat(np.arange(len(sizes)), end - begin)
        # From here on one entry for each chunk: its document, and its number k within it.
        k = np.arange(len(document)) + (end - np.cumsum(end - begin))[document]
        starts, sizes, counts = starts[document], sizes[document], counts[document]
        cuts = [starts + i * sizes // counts for i in (k, k + 1)]
        return np.stack([np.full(len(document), number), *cuts], axis=1)  # (chunks, 3)

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Return the tokens of each chunk, [CLS] and [SEP] included."""
        lengths: Int64[np.ndarray, " items"] = items[:, 2] - items[:, 1] + 2
        return lengths

    def tokens(self, chunk: Sequence[int]) -> Segment:
        """Return the tokens of one chunk, without [CLS] and [SEP], and where its words begin."""
        number, first, last = chunk
        shard = self.shards[number]
        return shard.ids[first:last], shard.words[first:last]

    def document(self, chunk: Sequence[int]) -> tuple[int, int, int]:
        """Return the shard, first token and last token + 1 of the document of a chunk."""
        number, first, _ = chunk
        documents = self.shards[number].documents
        end = int(np.searchsorted(documents, first, side="right"))
        return number, int(documents[end - 1]), int(documents[end])

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """Pack these chunks, shorter ones first."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        return PackedText.packed([[self.tokens(chunk)] for chunk in items.tolist()], self.tokenizer)


@dataclass(frozen=True)
class MaskedBatches:
    """An endless sequence of steps, each a function of (seed, step) that gives micro-batches."""

    source: TextSource
    corrupt: Corruption
    batch_tokens: int
    micro_batches: int = 1
    seed: int = 0
    replay: Replay | None = None

    @cached_property
    def order(self) -> Order:
        """Choose the items of each step."""
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
        """Return the micro-batches of `step` (from 0) for this process."""
        items = self.order(step)
        own = [self.batch(step, number, items[number]) for number in local_indices(len(items))]
        counts = Counts.of(own)
        step_counts = Counts(*all_reduce_sum(counts.tokens, counts.targets, counts.sequences))
        return with_step_counts(own, step_counts)

    def batch(self, step: int, number: int, items: Rows) -> MaskedBatch:
        """Make micro-batch `number` of `step` from these items."""
        rng = np.random.default_rng([self.seed, step, number])
        return self.corrupt(self.source.text(items, rng), rng, step)


def fixed_batches(
    source: TextSource, corrupt: Corruption, batch_tokens: int, limit: int
) -> Iterator[MaskedBatch]:
    """Make batches of about `limit` held-out tokens, the same ones in every run."""
    batches = MaskedBatches(source, corrupt, batch_tokens, seed=0)
    seen = 0
    for step in count():
        if seen >= limit or batches.order.epoch(step) > 0:
            return
        (items,) = batches.order(step)
        seen += int(source.lengths(items).sum())
        yield batches.batch(step, 0, items)


def unigram_entropy(shards: Sequence[Shard]) -> float:
    """Compute the entropy of single tokens in nats: the loss of a model that ignores context.

    For a large corpus it is estimated from evenly spaced blocks with `ENTROPY_SAMPLE` tokens.
    """
    apart = BLOCK * -(-sum(len(shard.ids) for shard in shards) // ENTROPY_SAMPLE)
    counts = np.zeros(0, np.int64)
    for shard in shards:
        for first in range(0, len(shard.ids), apart):
            seen = np.bincount(shard.ids[first : first + BLOCK], minlength=len(counts))
            seen[: len(counts)] += counts
            counts = seen
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
