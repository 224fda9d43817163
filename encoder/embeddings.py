"""Embed tokens: x = P norm(token + position + segment).

The projection P exists only where `embedding_size` differs from `hidden_size`: small vectors make
a large vocabulary cheaper (Lan et al. 2019, arXiv:1909.11942).

    embeddings = Embeddings(nn.Embedding(1000, 64), LearnedPositions(128, 64), norm=LayerNorm(64))
    x = embeddings(input_ids, None, Sequences.of([3, 5]))  # input_ids: (8,), x: (8, 64)
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.encoder.linear import Linear
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.positions import PositionTable, check_length, without_padding


class Embeddings(nn.Module):
    """The normalised sum of the vectors of a token, its position and its segment.

    Rotary positions, ALiBi and relative biases act in attention instead. The `padding_idx` of the
    table of tokens is the id of padding, where positions do not count it (`PositionTable.offset`).
    """

    def __init__(
        self,
        tokens: nn.Embedding,
        positions: PositionTable | None = None,
        segments: nn.Embedding | None = None,
        *,
        norm: nn.Module | None = None,
        projection: Linear | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.segments = segments
        self.norm = nn.Identity() if norm is None else norm
        self.dropout = nn.Dropout(dropout)
        self.projection = projection

    def forward(
        self,
        input_ids: Int[Tensor, "*tokens"] | None,
        token_type_ids: Int[Tensor, "*tokens"] | None,
        sequences: Sequences | PaddedSequences,
        inputs_embeds: Float[Tensor, "*tokens size"] | None = None,
        start: int = 0,
    ) -> Float[Tensor, "*tokens hidden"]:
        """Embed tokens.

        All are in segment 0 without `token_type_ids`, or if the model has a single segment.
        `inputs_embeds` replaces the rows of the token table. `start` is the position of the first
        token of each sequence.
        """
        x: Tensor = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.segments is not None:
            if token_type_ids is None or self.segments.num_embeddings == 1:
                token_type_ids = torch.zeros_like(sequences.positions)
            x = x + self.segments(token_type_ids)
        if self.positions is not None:
            check_length(sequences.max_length, self.positions.num_positions - start)
            positions, pad_id = start + sequences.positions, self.tokens.padding_idx
            if self.positions.offset and pad_id is not None and input_ids is not None:
                positions = without_padding(input_ids.eq(pad_id), sequences, start)
            x = x + self.positions(positions)
        x = self.dropout(self.norm(x))
        return x if self.projection is None else self.projection(x)
