"""Pack encoded examples into batches, shorter sequences first.

An example is encoded as one sequence or several: the windows of a long text, the options of a
multiple choice, the two texts of a pair. A batch packs the sequences of all its examples, sorted by
length; `in_order`, `first`, `mean` and `split` map outputs back to the order of the examples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.encoder.packing import to_device
from plainformer.tokenizer import Encoding

BATCH_TOKENS = 4096
"""The most tokens of a batch outside training."""


@dataclass(frozen=True)
class Item:
    """An encoded example; tasks add fields in subclasses."""

    encodings: tuple[Encoding, ...]
    """The sequences of the example, in order."""
    targets: tuple[Shaped[np.ndarray, "..."], ...] = ()
    """The targets of each sequence: (1, …), or (length, …) for its tokens; () if unlabelled."""
    group: str = ""
    """The group of the example, where training looks at groups apart: see `finetune.fair`."""
    category: str | None = None
    """The label of the example, where it has a group, and exactly one label."""

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens of all sequences."""
        return sum(len(encoding) for encoding in self.encodings)

    @property
    def is_cut(self) -> bool:
        """Return whether a part of the text was cut off."""
        return any(encoding.dropped for encoding in self.encodings)


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Batch(Generic[ItemT]):
    """A batch of items: their sequences, packed."""

    input_ids: Int[Tensor, " tokens"]
    token_type_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    places: Int[Tensor, " sequences"]
    """The packed index of each sequence, in the order of the items."""
    order: tuple[int, ...]
    """The same indices on the host: reading them does not wait for a GPU."""
    counts: tuple[int, ...]
    """The number of sequences of each item."""
    targets: Tensor
    """The targets of all sequences, in packed order: (sequences, …) or (tokens, …)."""
    items: tuple[ItemT, ...]

    @classmethod
    def of(cls, items: Sequence[ItemT]) -> "Batch[ItemT]":
        """Pack the sequences of items, shorter ones first."""
        flat = [encoding for item in items for encoding in item.encodings]
        order = sorted(range(len(flat)), key=lambda i: len(flat[i]))
        places = np.empty(len(flat), np.int64)
        places[order] = np.arange(len(flat))
        packed = [flat[i] for i in order]
        targets = [target for item in items for target in item.targets]
        known = np.concatenate([targets[i] for i in order]) if targets else np.zeros(0, np.int64)
        return cls(
            input_ids=torch.tensor([i for encoding in packed for i in encoding.ids]),
            token_type_ids=torch.tensor([i for encoding in packed for i in encoding.type_ids]),
            sequences=Sequences.of([len(encoding) for encoding in packed]),
            places=torch.from_numpy(places),
            order=tuple(places.tolist()),
            counts=tuple(len(item.encodings) for item in items),
            targets=torch.from_numpy(known),
            items=tuple(items),
        )

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)

    def on_device(self, numbers: Sequence[int]) -> Int[Tensor, " _"]:
        """Copy numbers to the device of the batch, without waiting for it."""
        return to_device(torch.tensor(numbers, dtype=torch.int64), self.places.device)

    @property
    def encoder_inputs(self) -> dict[str, Any]:
        """Return the arguments of an encoder for this batch."""
        names = "input_ids", "token_type_ids", "sequences"
        return {name: getattr(self, name) for name in names}

    @property
    def owners(self) -> Int[Tensor, " sequences"]:
        """Return the item's index for each sequence, in the order of the items."""
        counts = self.on_device(self.counts)
        return torch.repeat_interleave(counts, output_size=len(self.places))

    def to(self, device: torch.device) -> "Batch[ItemT]":
        """Return the same batch on `device`."""
        if device == self.places.device:
            return self
        return replace(
            self,
            input_ids=to_device(self.input_ids, device),
            token_type_ids=to_device(self.token_type_ids, device),
            sequences=self.sequences.to(device),
            places=to_device(self.places, device),
            targets=to_device(self.targets, device),
        )

    def parts(
        self, batch_tokens: int = BATCH_TOKENS
    ) -> Iterator[tuple[Int[Tensor, " tokens"], Int[Tensor, " tokens"], Sequences]]:
        """Yield packed sequences in groups of at most `batch_tokens`; a longer one is a group."""
        lengths = self.sequences.lengths
        first = token = 0
        while first < len(lengths):
            last, size = first + 1, lengths[first]
            while last < len(lengths) and size + lengths[last] <= batch_tokens:
                size, last = size + lengths[last], last + 1
            some = slice(token, token + size)
            sequences = Sequences.of(list(lengths[first:last]), self.input_ids.device)
            yield self.input_ids[some], self.token_type_ids[some], sequences
            first, token = last, token + size

    def select(self, places: Sequence[int]) -> "Batch[ItemT]":
        """Pack some of the items, in the same order, as a batch of their own."""
        return Batch.of([self.items[place] for place in places]).to(self.input_ids.device)

    def in_order(self, x: Tensor) -> Tensor:
        """Reorder packed `(sequences, …)` to the order of the items."""
        return x[self.places]

    def first(self, x: Tensor) -> Tensor:
        """Select the first sequence of each item: packed `(sequences, …)` → `(items, …)`."""
        starts = np.cumsum([0, *self.counts[:-1]]).tolist()
        return x[self.on_device([self.order[start] for start in starts])]

    def mean(self, x: Tensor) -> Tensor:
        """Average over the sequences of each item: packed `(sequences, …)` → `(items, …)`."""
        if len(self.counts) == len(self.places):
            return self.in_order(x)
        sums = x.new_zeros((len(self.counts), *x.shape[1:]))
        sums = sums.index_add(0, self.owners, self.in_order(x))
        counts = self.on_device(self.counts)
        return sums / counts.view(-1, *[1] * (x.dim() - 1))

    def split(self, x: Tensor) -> list[list[Tensor]]:
        """Split packed `(tokens, …)` into `(length, …)` for each sequence of each item."""
        pieces = torch.split(x, list(self.sequences.lengths))
        ordered = [pieces[place] for place in self.order]
        bounds = np.cumsum([0, *self.counts])
        return [ordered[begin:end] for begin, end in pairwise(bounds)]


def by_length(
    items: Sequence[ItemT], batch_tokens: int = BATCH_TOKENS
) -> Iterator[list[tuple[int, ItemT]]]:
    """Yield batches of items of similar length, each item with its index."""
    batch: list[tuple[int, ItemT]] = []
    tokens = 0
    for number, item in sorted(enumerate(items), key=lambda numbered: numbered[1].num_tokens):
        if batch and tokens + item.num_tokens > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append((number, item))
        tokens += item.num_tokens
    if batch:
        yield batch
