"""Define the keys that a query sees, and the bias that their distance adds to the score.

A query sees the keys of its own sequence, and of these only

- those at most `window` positions away (local layers);
- those that do not come after it, where the sequences are causal.

A prefix of keys that belong to no token may precede each sequence. Every query of the sequence sees
them, whatever the window and the direction, and no distance changes their scores:

    keys            p p | a b c d
    query a         x x   x . . .       causal, window 1
    query b         x x   x x . .
    query c         x x   . x x .

`AttentionMask.visible` is the definition. Fast kernels take bounds and blocks instead of it.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.encoder.packing import PaddedSequences, Sequences

Heads = Float[Tensor, "*tokens heads head_size"]
Keys = Float[Tensor, "*keys heads head_size"]
Weights = Float[Tensor, "sequences heads queries keys"]


@dataclass(frozen=True)
class AttentionMask:
    """The visible keys of each query of a layer, and the bias of their scores."""

    sequences: Sequences | PaddedSequences
    window: int | None = None
    """Largest distance of a visible key, on each side; None: no limit."""
    bias: Float[Tensor, "heads distances"] | None = None
    """Number that each head adds to a score, by distance; the middle column is distance 0."""
    prefix: int = 0
    """Number of keys before each sequence that all of its queries see."""

    @property
    def causal(self) -> bool:
        """Return whether a query sees no key that comes after it."""
        return self.sequences.causal

    @property
    def is_full(self) -> bool:
        """Return whether a query sees all keys of its sequence, with their scores unchanged."""
        return self.window is None and self.bias is None and not self.causal

    @cached_property
    def keys(self) -> Sequences | PaddedSequences:
        """Return the boundaries of the keys: of each sequence with its prefix."""
        return self.sequences.prefixed(self.prefix) if self.prefix else self.sequences

    def prepend(self, prefix: Float[Tensor, "prefix heads head_size"], x: Heads) -> Keys:
        """Insert the keys or values of a prefix before those of each sequence."""
        padded = self.sequences.pad(x)
        repeated = prefix.expand(padded.shape[0], *prefix.shape)
        return self.keys.unpad(torch.cat([repeated, padded], 1))

    def allows(self, distance: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """Return whether a query sees a key of its sequence at this distance."""
        allowed = distance <= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return allowed if self.window is None else allowed & (distance.abs() <= self.window)

    def bias_at(
        self, distance: Int[Tensor, "*batch queries keys"]
    ) -> Float[Tensor, "heads *batch queries keys"]:
        """Look up the bias of each head at these distances: `(heads, *batch, queries, keys)`."""
        assert self.bias is not None
        return self.bias[:, self.bias.shape[1] // 2 + distance]

    @cached_property
    def distances(self) -> Int[Tensor, "#sequences length length"]:
        """Return j − i for each query i and each key j of the padded sequences."""
        position = self.sequences.padded_positions
        return position[:, None, :] - position[:, :, None]

    @cached_property
    def visible(self) -> Bool[Tensor, "sequences 1 queries keys"]:
        """Return whether a query sees a key, in padded sequences; padding sees nothing."""
        is_token = self.sequences.is_token
        visible = is_token[:, :, None] & is_token[:, None, :] & self.allows(self.distances)
        prefix = is_token[:, :, None].expand(-1, -1, self.prefix)
        return torch.cat([prefix, visible], -1)[:, None]

    def score_bias(self) -> Float[Tensor, "#sequences heads queries keys"] | None:
        """Return the number added to each score of the padded sequences; 0 for the prefix."""
        if self.bias is None:
            return None
        bias = self.bias_at(self.distances).transpose(0, 1)
        return torch.nn.functional.pad(bias, (self.prefix, 0))
