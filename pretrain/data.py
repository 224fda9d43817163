"""Shards become batches: whole documents, masked anew each time, packed to a budget of tokens.

A document longer than `max_length` is cut into pieces of nearly equal length. Each piece stands
between [CLS] and [SEP] and attends to nothing but itself. What stands in a batch, and what is
masked there, follows from (seed, step) alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from cellar import UserError
from encoder import Sequences
from pretrain.masking import Masking
from pretrain.shards import Shard
from tokenizer import Tokenizer
from training import Order, by_tokens


@dataclass(frozen=True)
class MaskedBatch:
    """Packed sequences with masked tokens, and what stood there."""

    input_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    at: Int[Tensor, " masked"]
    """the places to guess"""
    labels: Int[Tensor, " masked"]
    """the tokens that stood there"""

    @property
    def num_tokens(self) -> int:
        """Tokens in the batch."""
        return len(self.input_ids)

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on `device`."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            sequences=self.sequences.to(device),
            at=self.at.to(device),
            labels=self.labels.to(device),
        )


@dataclass(frozen=True)
class Pieces:
    """The documents of some shards, cut to at most `max_length` tokens with [CLS] and [SEP]."""

    shards: Sequence[Shard]
    tokenizer: Tokenizer
    max_length: int

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UserError(f"max_length must be at least 3, not {self.max_length}")
        if not self.shards:
            raise UserError("there are no token shards to read")

    @cached_property
    def _table(self) -> Int64[np.ndarray, "pieces 3"]:
        """Shard, first token and last token + 1 of each piece."""
        room = self.max_length - 2
        rows = []
        for number, shard in enumerate(self.shards):
            starts, sizes = shard.documents[:-1], np.diff(shard.documents)
            counts = -(-sizes // room)
            document = np.repeat(np.arange(len(sizes)), counts)
            place = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
            first = starts[document] + place * sizes[document] // counts[document]
            last = starts[document] + (place + 1) * sizes[document] // counts[document]
            rows.append(np.stack([np.full(len(first), number), first, last], axis=1))
        return np.concatenate(rows).astype(np.int64)

    @property
    def lengths(self) -> Int64[np.ndarray, " pieces"]:
        """Tokens of each piece, [CLS] and [SEP] included."""
        lengths: Int64[np.ndarray, " pieces"] = self._table[:, 2] - self._table[:, 1] + 2
        return lengths

    def batch(
        self, pieces: Int64[np.ndarray, " chosen"], masking: Masking, rng: np.random.Generator
    ) -> MaskedBatch:
        """The chosen pieces, packed (shorter ones first) and masked with `rng`."""
        pieces = pieces[np.argsort(self.lengths[pieces], kind="stable")]
        cls, sep = [self.tokenizer.cls_id], [self.tokenizer.sep_id]
        ids: list[np.ndarray | list[int]] = []
        word_starts: list[np.ndarray | list[int]] = []
        for number, first, last in self._table[pieces].tolist():
            shard = self.shards[number]
            ids += [cls, shard.ids[first:last], sep]
            word_starts += [[1], shard.words[first:last], [1]]
        tokens = np.concatenate(ids).astype(np.int64)
        words = np.cumsum(np.concatenate(word_starts)) - 1
        special = np.isin(tokens, list(self.tokenizer.special_ids))
        masked, places = masking(tokens, words, special, rng)
        return MaskedBatch(
            input_ids=torch.from_numpy(masked),
            sequences=Sequences.of(self.lengths[pieces].tolist()),
            at=torch.from_numpy(places),
            labels=torch.from_numpy(tokens[places]),
        )


@dataclass(frozen=True)
class MaskedBatches:
    """Step → its micro-batches: a function of (seed, step), without end."""

    pieces: Pieces
    masking: Masking
    batch_tokens: int
    micro_batches: int = 1
    seed: int = 0

    @cached_property
    def order(self) -> Order:
        """Which pieces make up each step."""
        return by_tokens(
            self.pieces.lengths,
            self.batch_tokens,
            seed=self.seed,
            micro_batches=self.micro_batches,
        )

    def __call__(self, step: int) -> list[MaskedBatch]:
        """The micro-batches of `step`, from 0."""
        return [
            self.pieces.batch(items, self.masking, np.random.default_rng([self.seed, step, i]))
            for i, items in enumerate(self.order(step))
        ]


def fixed_batches(
    pieces: Pieces, masking: Masking, batch_tokens: int, limit: int
) -> Iterator[MaskedBatch]:
    """About `limit` tokens of held-out text under masks that never change: comparable anywhere."""
    batches = MaskedBatches(pieces, masking, batch_tokens, seed=0)
    seen = 0
    for step in range(batches.order.steps(epochs=1)):
        if seen >= limit:
            return
        (batch,) = batches(step)
        seen += batch.num_tokens
        yield batch


def ordinary_ids(tokenizer: Tokenizer) -> Int64[np.ndarray, " ordinary"]:
    """The vocabulary without special tokens."""
    return np.setdiff1d(np.arange(tokenizer.vocab_size), list(tokenizer.special_ids))


def unigram_entropy(shards: Sequence[Shard]) -> float:
    """Entropy of the tokens, in nats: the loss of a model that knows frequencies and no context."""
    counts = np.zeros(1 + max(int(shard.ids.max()) for shard in shards), np.int64)
    for shard in shards:
        seen = np.bincount(shard.ids)
        counts[: len(seen)] += seen
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
