"""Pack a padded batch inside a traced graph: `torch.export`, ONNX.

    inputs (batch, seq) → tokens (tokens,) → embeddings, blocks, head → outputs (batch, seq)

The graph finds the real tokens by itself, so every product, norm and activation works on them
alone, in any runtime; attention pads them for its softmax. The number of tokens depends on the
data, and is read by no host.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from plainformer.encoder.packing import PaddedSequences


@dataclass(frozen=True)
class TracedSequences(PaddedSequences):
    """The tokens of a padded batch, packed within the graph: the packing, and its sequences.

    Packed tensors are `(tokens, …)`, and come in the order of the batch. A row needs a token.
    """

    @property
    def sequences(self) -> "TracedSequences":
        """Return the boundaries of the packed sequences."""
        return self

    @cached_property
    def index(self) -> Int[Tensor, " tokens"]:
        """Return the index of each token in the flattened batch."""
        return self.is_token.flatten().nonzero()[:, 0]

    @cached_property
    def inverse(self) -> Int[Tensor, "batch seq"]:
        """Return the index of each packed token; on padding, that of some token."""
        return (self.is_token.flatten().cumsum(0) - 1).clamp_min(0).view(self.is_token.shape)

    @cached_property
    def positions(self) -> Int[Tensor, " tokens"]:
        """Return the position of each token in its sequence, from 0."""
        return self.unpad(self.padded_positions)

    @property
    def padded_positions(self) -> Int[Tensor, "batch seq"]:
        """Return the number of tokens before each token; on padding, some valid position."""
        return (self.is_token.cumsum(1) - 1).clamp_min(0)

    def pad(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "batch seq *rest"]:
        """Restore the padded batch, whose padding has the entries of some token."""
        return x[self.inverse]

    def unpad(self, x: Shaped[Tensor, "batch seq *rest"]) -> Shaped[Tensor, "tokens *rest"]:
        """Select the real tokens."""
        return x.flatten(0, 1).index_select(0, self.index)

    pack = unpad

    def unpack(
        self, x: Shaped[Tensor, "tokens *rest"], padding: float = 0.0
    ) -> Shaped[Tensor, "batch seq *rest"]:
        """Restore the padded batch, with `padding` where there is no token."""
        return super().fill_padding(self.pad(x), padding)

    def unpack_rows(self, x: Tensor) -> Tensor:
        """Return `x`, which has a row for each sequence."""
        return x

    def unpack_attention(self, weights: Tensor) -> Tensor:
        """Return attention weights, which are padded."""
        return weights

    def fill_padding(self, x: Shaped[Tensor, "tokens *rest"], value: float) -> Tensor:
        """Return `x`, which has no padding."""
        return x

    def cumsum(self, flags: Bool[Tensor, " tokens"]) -> Int[Tensor, " tokens"]:
        """Count the true `flags` of each sequence, up to each token and with it."""
        return self.unpad(super().cumsum(self.pad(flags)))

    def first(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of the first token of each sequence."""
        return self._select(x, self.is_token.int().argmax(1))

    def last(self, x: Shaped[Tensor, "tokens *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of the last token of each sequence."""
        return self._select(x, self.is_token.cumsum(1).argmax(1))

    def sum(self, x: Shaped[Tensor, "tokens size"]) -> Shaped[Tensor, "batch size"]:
        """Add up the entries of the tokens of each sequence."""
        return self.unpack(x).sum(1)

    def max(self, x: Shaped[Tensor, "tokens size"]) -> Shaped[Tensor, "batch size"]:
        """Compute the largest entry of each column over the tokens of each sequence."""
        return self.unpack(x, -torch.inf).amax(1)

    def _select(
        self, x: Shaped[Tensor, "tokens *rest"], column: Int[Tensor, " batch"]
    ) -> Shaped[Tensor, "batch *rest"]:
        """Select the entry of the token in one column of each row."""
        return x.index_select(0, self.inverse.gather(1, column[:, None])[:, 0])
