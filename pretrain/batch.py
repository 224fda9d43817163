"""A batch before and after an objective has corrupted it.

    documents → PackedText → Corruption → MaskedBatch

`PackedText` is text as the corpus holds it, packed: one row of tokens and the lengths of its
sequences. A `Corruption` makes a batch of it: the tokens that the model sees, the positions at
which it predicts, and the labels there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, Shaped
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.encoder.packing import to_device
from plainformer.tokenizer import Tokenizer

Segment = tuple[Shaped[np.ndarray, " _"], Shaped[np.ndarray, " _"]]
"""Token ids, and for each token 1 where a word begins, else 0."""


@dataclass(frozen=True)
class PackedText:
    """Packed sequences of the corpus, special tokens included."""

    ids: Int64[np.ndarray, " tokens"]
    words: Int[np.ndarray, " tokens"]
    """The number of each token's word, from 0 in ascending order."""
    special: Bool[np.ndarray, " tokens"]
    lengths: tuple[int, ...]
    segments: Int64[np.ndarray, " tokens"] | None = None
    """For pairs: 0 in the first segment, 1 in the second."""
    order: Int64[np.ndarray, " sequences"] | None = None
    """For pairs: 0 where the second segment follows the first in the corpus, 1 where not."""

    @classmethod
    def packed(
        cls,
        rows: Sequence[Sequence[Segment]],
        tokenizer: Tokenizer,
        order: Int64[np.ndarray, " sequences"] | None = None,
    ) -> "PackedText":
        """Pack each row into a sequence: [CLS] a [SEP], or of a pair [CLS] a [SEP] b [SEP].

        A segment that was cut within a word begins a new one.
        """
        cls_id, sep_id = [tokenizer.cls_id], [tokenizer.sep_id]
        ids: list[np.ndarray | list[int]] = []
        starts: list[np.ndarray | list[int]] = []
        sizes: list[int] = []
        for row in rows:
            ids.append(cls_id)
            starts.append([1])
            for number, (tokens, word_starts) in enumerate(row):
                ids += [tokens, sep_id]
                starts += [[1][: len(tokens)], word_starts[1:], [1]]
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

    def with_targets(
        self,
        target_positions: Int64[np.ndarray, " targets"],
        labels: Int64[np.ndarray, " targets"],
        shown: Int64[np.ndarray, " tokens"] | None = None,
        causal: bool = False,
    ) -> "MaskedBatch":
        """Return the batch that predicts `labels` at these positions.

        The model sees `shown`, by default the text itself.
        """
        types, order = self.segments, self.order
        return MaskedBatch(
            input_ids=torch.from_numpy(self.ids if shown is None else shown),
            sequences=Sequences.of(self.lengths, causal=causal),
            target_positions=torch.from_numpy(target_positions),
            labels=torch.from_numpy(labels),
            token_type_ids=None if types is None else torch.from_numpy(types),
            order=None if order is None else torch.from_numpy(order),
        )


@dataclass(frozen=True)
class Counts:
    """The number of items of each kind in some batches."""

    tokens: int
    targets: int
    sequences: int

    @classmethod
    def of(cls, batches: "Sequence[MaskedBatch]") -> "Counts":
        """Add the counts of these batches."""
        counts = [batch.counts for batch in batches]
        return cls(
            tokens=sum(c.tokens for c in counts),
            targets=sum(c.targets for c in counts),
            sequences=sum(c.sequences for c in counts),
        )


@dataclass(frozen=True)
class MaskedBatch:
    """Packed sequences, corrupted, and the labels to predict."""

    input_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    target_positions: Int[Tensor, " targets"]
    labels: Int[Tensor, " targets"]
    """The original tokens at the target positions."""
    token_type_ids: Int[Tensor, " tokens"] | None = None
    order: Int[Tensor, " sequences"] | None = None
    """For pairs: 0 where the second segment follows the first in the corpus, 1 where not."""
    step_counts: Counts | None = None
    """Item counts of the whole optimizer step; None outside a step."""

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens in the batch."""
        return len(self.input_ids)

    @property
    def counts(self) -> Counts:
        """Return the item counts of the step, or, outside a step, of this batch alone."""
        own = Counts(self.num_tokens, len(self.labels), len(self.sequences.lengths))
        return self.step_counts or own

    def to(self, device: torch.device) -> "MaskedBatch":
        """Return the same batch on `device`."""
        types, order = self.token_type_ids, self.order
        return replace(
            self,
            input_ids=to_device(self.input_ids, device),
            sequences=self.sequences.to(device),
            target_positions=to_device(self.target_positions, device),
            labels=to_device(self.labels, device),
            token_type_ids=None if types is None else to_device(types, device),
            order=None if order is None else to_device(order, device),
        )


Corruption = Callable[[PackedText, np.random.Generator, int], MaskedBatch]
"""Text, generator and step → the corrupted text with its targets."""


def with_step_counts(
    batches: Sequence[MaskedBatch], step_counts: Counts | None = None
) -> list[MaskedBatch]:
    """Give each batch the item counts of its step, by default those of these batches.

    Losses of different counts need them: `training.weighted_sum`.
    """
    step_counts = step_counts or Counts.of(batches)
    return [replace(batch, step_counts=step_counts) for batch in batches]
