"""Pack a padded batch into one row of real tokens, and restore the padding afterwards.

A padded batch `(batch, seq)` with its `attention_mask` becomes one row of real tokens `(tokens,)`
and the boundaries of its sequences:

    a b c .        packed:     d | e f g h | a b c     (shorter sequences first)
    d . . .   →    lengths:    1, 4, 3 sorted → 1, 3, 4
    e f g h        cu_seqlens: 0, 1, 4, 8

All blocks work on `(tokens, …)`: none spends work on padding, and the output of a sequence does not
depend on the rest of its batch. Shorter sequences come first, so that sequences of equal length are
adjacent and can be viewed as `(count, length, …)`: see `runs`. A position counts real tokens:
padding on the left, or in the middle, changes nothing. A row without tokens is left out, and its
output is zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """The boundaries of packed sequences, and whether attention in them is causal."""

    lengths: tuple[int, ...]
    """Number of tokens of each sequence, on the host: reading them does not wait for a GPU."""
    cu_seqlens: Int[Tensor, " bounds"]
    """Cumulative lengths, from 0: sequence i is tokens[cu_seqlens[i] : cu_seqlens[i + 1]]."""
    positions: Int[Tensor, " tokens"]
    """Position of each token in its sequence, from 0."""
    causal: bool = False
    """Hide from each token those that come after it."""
    max_length: int = field(init=False)
    """Number of tokens of the longest sequence: a field, so that compiled code reads no lengths."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_length", max(self.lengths, default=0))

    @classmethod
    def of(
        cls,
        lengths: Sequence[int],
        device: torch.device | str | None = None,
        causal: bool = False,
    ) -> "Sequences":
        """Compute the boundaries of sequences of these `lengths` (each at least 1)."""
        sizes = np.array(lengths, np.int64)
        cu_seqlens = np.concatenate([[0], sizes.cumsum()])
        positions = np.arange(cu_seqlens[-1]) - cu_seqlens[:-1].repeat(sizes)
        bounds = torch.from_numpy(cu_seqlens.astype(np.int32))
        sequences = cls(tuple(lengths), bounds, torch.from_numpy(positions), causal)
        return sequences if device is None else sequences.to(device)

    def to(self, device: torch.device | str) -> "Sequences":
        """Copy the boundaries to another device."""
        bounds, positions = to_device(self.cu_seqlens, device), to_device(self.positions, device)
        return replace(self, cu_seqlens=bounds, positions=positions)

    def prefixed(self, prefix: int) -> "Sequences":
        """Compute the boundaries of the same sequences, each `prefix` entries longer."""
        lengths = [prefix + length for length in self.lengths]
        return Sequences.of(lengths, self.positions.device, self.causal)

    @property
    def counts(self) -> Int[Tensor, " sequences"]:
        """Return the number of tokens of each sequence, on the device."""
        return self.cu_seqlens.diff()

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Return (count, length) of each run of adjacent sequences of equal length, in order."""
        return [(len(list(group)), length) for length, group in groupby(self.lengths)]

    @cached_property
    def sequence_ids(self) -> Int[Tensor, " tokens"]:
        """Return the index of the sequence that each token belongs to."""
        sizes = self.cu_seqlens.diff()
        return torch.repeat_interleave(sizes, output_size=len(self.positions))

    @property
    def is_token(self) -> Bool[Tensor, "sequences length"]:
        """Return which entries of the padded sequences are tokens."""
        return self.pad(torch.ones_like(self.sequence_ids)).bool()

    @property
    def padded_positions(self) -> Int[Tensor, "1 length"]:
        """Return the positions of the padded sequences, the same for all of them."""
        return torch.arange(self.max_length, device=self.positions.device)[None]

    def pad(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "sequences length *rest"]:
        """Move each sequence to a row of its own, with zeros after its tokens."""
        padded = x.new_zeros((len(self.lengths), self.max_length, *x.shape[1:]))
        return padded.index_put((self.sequence_ids, self.positions), x)

    def unpad(self, x: Shaped[Tensor, "sequences length *rest"]) -> Shaped[Tensor, "tokens *rest"]:
        """Reverse `pad`."""
        return x[self.sequence_ids, self.positions]

    def cumsum(self, flags: Bool[Tensor, " tokens"]) -> Int[Tensor, " tokens"]:
        """Count the true `flags` of each sequence, up to each token and with it."""
        count = flags.cumsum(0)
        before = (count - flags.long())[self.cu_seqlens[:-1]]
        return count - before[self.sequence_ids]

    def first(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "sequences *rest"]:
        """Select the entry of the first token of each sequence."""
        return x[self.cu_seqlens[:-1]]

    def last(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "sequences *rest"]:
        """Select the entry of the last token of each sequence."""
        return x[self.cu_seqlens[1:] - 1]

    def sum(self, x: Shaped[Tensor, "tokens size"]) -> Shaped[Tensor, "sequences size"]:
        """Add up the entries of the tokens of each sequence."""
        if len(self.lengths) == 1:  # in one operation
            return x.sum(0, keepdim=True)
        return x.new_zeros(len(self.lengths), x.shape[-1]).index_add(0, self.sequence_ids, x)

    def max(self, x: Shaped[Tensor, "tokens size"]) -> Shaped[Tensor, "sequences size"]:
        """Compute the largest entry of each column over the tokens of each sequence."""
        index = self.sequence_ids.long()[:, None].expand_as(x)
        start = x.new_zeros(len(self.lengths), x.shape[-1])
        return start.scatter_reduce(0, index, x, "amax", include_self=False)


@dataclass(frozen=True)
class PaddedSequences:
    """The tokens of a padded batch, for a forward pass on `(batch, seq, …)` without packing.

    No shape depends on the lengths of the texts, and no number is read by the host, so
    `torch.export` can trace it. Its interface is that of `Sequences`. A row needs a token.
    """

    is_token: Bool[Tensor, "batch seq"]
    """The attention mask: false on padding."""
    causal: bool = False
    """Hide from each token those that come after it."""

    def prefixed(self, prefix: int) -> "PaddedSequences":
        """Return the same sequences, each `prefix` entries longer."""
        is_token = torch.nn.functional.pad(self.is_token, (prefix, 0), value=True)
        return replace(self, is_token=is_token)

    @property
    def counts(self) -> Int[Tensor, " batch"]:
        """Return the number of tokens of each sequence."""
        return self.is_token.sum(1)

    @property
    def max_length(self) -> int:
        """Return the number of columns: the tokens of a sequence that fills its row."""
        return self.is_token.shape[1]

    @cached_property
    def positions(self) -> Int[Tensor, "batch seq"]:
        """Return the number of tokens before each token; on padding, some valid position."""
        return (self.is_token.cumsum(1) - 1).clamp_min(0)

    @property
    def padded_positions(self) -> Int[Tensor, "batch seq"]:
        """Return `positions`, which are padded."""
        return self.positions

    def pad(self, x: Shaped[Tensor, "batch seq *rest"]) -> Shaped[Tensor, "batch seq *rest"]:
        """Return `x`, which is padded."""
        return x

    def unpad(self, x: Shaped[Tensor, "batch seq *rest"]) -> Shaped[Tensor, "batch seq *rest"]:
        """Return `x`, which stays padded."""
        return x

    def fill_padding(self, x: Shaped[Tensor, "batch seq *rest"], value: float) -> Tensor:
        """Set the entries of padding to `value`."""
        is_token = self.is_token.view(*self.is_token.shape, *[1] * (x.ndim - 2))
        return x.masked_fill(~is_token, value)

    def cumsum(self, flags: Bool[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
        """Count the true `flags` of the tokens of each sequence, up to each token and with it."""
        return (flags & self.is_token).cumsum(1)

    def first(self, x: Shaped[Tensor, "batch seq *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of the first token of each sequence."""
        return self._select(x, self.is_token.int().argmax(1))

    def last(self, x: Shaped[Tensor, "batch seq *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of the last token of each sequence."""
        return self._select(x, self.is_token.cumsum(1).argmax(1))

    def sum(self, x: Shaped[Tensor, "batch seq size"]) -> Shaped[Tensor, "batch size"]:
        """Add up the entries of the tokens of each sequence."""
        return self.fill_padding(x, 0.0).sum(1)

    def max(self, x: Shaped[Tensor, "batch seq size"]) -> Shaped[Tensor, "batch size"]:
        """Compute the largest entry of each column over the tokens of each sequence."""
        return self.fill_padding(x, -torch.inf).amax(1)

    def _select(
        self, x: Shaped[Tensor, "batch seq *rest"], column: Int[Tensor, " batch"]
    ) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of one column of each row."""
        # x.shape[0], since len(x) would be a constant in an exported graph.
        return x[torch.arange(x.shape[0], device=x.device), column]


@dataclass(frozen=True)
class Packing:
    """The positions of the real tokens of a padded batch, in the order in which they are packed."""

    shape: tuple[int, int]
    """The shape of the padded batch: (batch, seq)."""
    rows: Int[Tensor, " sequences"]
    """Row of the batch of each packed sequence."""
    index: Int[Tensor, " tokens"]
    """Index of each packed token in the flattened batch."""
    sequences: Sequences

    @classmethod
    def of(cls, attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"]) -> "Packing":
        """Compute the packing of a batch: `attention_mask` is 1 for real tokens."""
        mask = attention_mask.bool()
        batch, seq = mask.shape
        counts, rows = mask.sum(1).sort(stable=True)
        lengths = counts.tolist()
        empty = lengths.count(0)
        rows = rows[empty:]
        packed_row, column = mask[rows].nonzero(as_tuple=True)
        index = rows[packed_row] * seq + column
        return cls((batch, seq), rows, index, Sequences.of(lengths[empty:], mask.device))

    def pack(self, x: Tensor) -> Tensor:
        """Select the real tokens: `(batch, seq, …)` → `(tokens, …)`."""
        return x.flatten(0, 1)[self.index]

    def unpack(self, x: Tensor, padding: float = 0.0) -> Tensor:
        """Restore the padded batch: `(tokens, …)` → `(batch, seq, …)`, else `padding`."""
        batch, seq = self.shape
        flat = x.new_full((batch * seq, *x.shape[1:]), padding).index_copy(0, self.index, x)
        return flat.view(batch, seq, *x.shape[1:])

    def unpack_rows(self, x: Tensor) -> Tensor:
        """Restore the rows: `(sequences, …)` → `(batch, …)`, zeros for a row without tokens."""
        return x.new_zeros((self.shape[0], *x.shape[1:])).index_copy(0, self.rows, x)

    def unpack_attention(self, weights: Tensor) -> Tensor:
        """Restore the padding of attention weights, first of the queries, then of the keys.

        `(sequences, heads, length, length)` → `(batch, heads, seq, seq)`
        """
        queries = self.sequences.unpad(weights.transpose(1, 2))  # (tokens, heads, length)
        keys = self.unpack(queries)[self.rows].transpose(1, 3)  # (sequences, length, heads, seq)
        return self.unpack(self.sequences.unpad(keys)).permute(0, 2, 3, 1)


def to_device(x: Tensor, device: torch.device | str) -> Tensor:
    """Copy `x` to `device`; only CUDA and XPU need not be waited for.

    A CPU could read too early, and MPS copies from memory that may be free by then.
    """
    return x.to(device, non_blocking=torch.device(device).type in ("cuda", "xpu"))
