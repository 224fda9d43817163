"""A batch before and after an objective has hidden something in it.

    documents → Text → an objective hides tokens, or asks for others → MaskedBatch

`Text` is what the corpus holds, packed: one row of tokens and the lengths of its sequences. How a
batch is made of it is a `Hiding`: it says what the model sees, at which places it is asked, and for
which tokens there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, Shaped
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.encoder.packing import moved
from plainformer.tokenizer import Tokenizer

Segment = tuple[Shaped[np.ndarray, " _"], Shaped[np.ndarray, " _"]]
"""ids, and 1 where a word begins: as the shards have them"""


@dataclass(frozen=True)
class Text:
    """Packed sequences as the corpus has them, special tokens included."""

    ids: Int64[np.ndarray, " tokens"]
    words: Int[np.ndarray, " tokens"]
    """the number of each token's word, from 0 and rising"""
    special: Bool[np.ndarray, " tokens"]
    lengths: tuple[int, ...]
    segments: Int64[np.ndarray, " tokens"] | None = None
    """of pairs: 0 in the first segment, 1 in the second"""
    order: Int64[np.ndarray, " sequences"] | None = None
    """of pairs: 0 where the second segment follows the first in the corpus, 1 where not"""

    @classmethod
    def packed(
        cls,
        rows: Sequence[Sequence[Segment]],
        tokenizer: Tokenizer,
        order: Int64[np.ndarray, " sequences"] | None = None,
    ) -> "Text":
        """One sequence of each row: [CLS] a [SEP], or of two segments [CLS] a [SEP] b [SEP]."""
        cls_id, sep_id = [tokenizer.cls_id], [tokenizer.sep_id]
        ids: list[np.ndarray | list[int]] = []
        starts: list[np.ndarray | list[int]] = []
        sizes: list[int] = []
        for row in rows:
            ids.append(cls_id)
            starts.append([1])
            for number, (tokens, word_starts) in enumerate(row):
                ids += [tokens, sep_id]
                starts += [word_starts, [1]]
                sizes.append(len(tokens) + 1 + (number == 0))
        pairs = None if order is None else np.repeat(np.arange(len(sizes)) % 2, sizes)
        flat = np.concatenate(ids).astype(np.int64)
        return cls(
            ids=flat,
            words=np.cumsum(np.concatenate(starts)) - 1,
            special=np.isin(flat, list(tokenizer.special_ids)),
            lengths=tuple(1 + sum(len(tokens) + 1 for tokens, _ in row) for row in rows),
            segments=pairs,
            order=order,
        )

    def asked(
        self,
        at: Int64[np.ndarray, " places"],
        labels: Int64[np.ndarray, " places"],
        shown: Int64[np.ndarray, " tokens"] | None = None,
        causal: bool = False,
    ) -> "MaskedBatch":
        """The batch that asks for `labels` `at` these places; the model sees `shown`, or all."""
        types, order = self.segments, self.order
        return MaskedBatch(
            input_ids=torch.from_numpy(self.ids if shown is None else shown),
            sequences=Sequences.of(self.lengths, causal=causal),
            at=torch.from_numpy(at),
            labels=torch.from_numpy(labels),
            token_type_ids=None if types is None else torch.from_numpy(types),
            order=None if order is None else torch.from_numpy(order),
        )


@dataclass(frozen=True)
class Counts:
    """How much some batches hold together."""

    tokens: int
    asked: int
    sequences: int

    @classmethod
    def of(cls, batches: "Sequence[MaskedBatch]") -> "Counts":
        """What these batches hold, or what they are among."""
        counts = [batch.counts for batch in batches]
        return cls(
            tokens=sum(c.tokens for c in counts),
            asked=sum(c.asked for c in counts),
            sequences=sum(c.sequences for c in counts),
        )


@dataclass(frozen=True)
class MaskedBatch:
    """Packed sequences of which something is hidden, and what is to be found out."""

    input_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    at: Int[Tensor, " masked"]
    """the places to guess"""
    labels: Int[Tensor, " masked"]
    """the tokens that belong there"""
    token_type_ids: Int[Tensor, " tokens"] | None = None
    order: Int[Tensor, " sequences"] | None = None
    """of pairs: 0 where the second segment follows the first in the corpus, 1 where not"""
    among: Counts | None = None
    """what all batches hold over which a mean is taken: those of a step; None: it stands alone"""

    @property
    def num_tokens(self) -> int:
        """Tokens in the batch."""
        return len(self.input_ids)

    @property
    def counts(self) -> Counts:
        """What the mean is over that this batch is part of."""
        return self.among or Counts(self.num_tokens, len(self.labels), len(self.sequences.lengths))

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on `device`."""
        types, order = self.token_type_ids, self.order
        return replace(
            self,
            input_ids=moved(self.input_ids, device),
            sequences=self.sequences.to(device),
            at=moved(self.at, device),
            labels=moved(self.labels, device),
            token_type_ids=None if types is None else moved(types, device),
            order=None if order is None else moved(order, device),
        )


Hiding = Callable[[Text, np.random.Generator, int], MaskedBatch]
"""(text, generator, step) → what is hidden of it and asked for"""


def together(batches: Sequence[MaskedBatch], among: Counts | None = None) -> list[MaskedBatch]:
    """The same batches, each knowing what all of them hold, or that they are `among` more.

    Whom that is for: `training.weighted_sum`.
    """
    among = among or Counts.of(batches)
    return [replace(batch, among=among) for batch in batches]
