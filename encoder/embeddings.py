"""Embed tokens: x = P norm(token + position + segment).

The projection P exists only where `embedding_size` differs from `hidden_size`: small vectors make
a large vocabulary cheaper (Lan et al. 2019, arXiv:1909.11942).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.linear import Linear
from plainformer.encoder.norm import make_norm
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.positions import (
    LearnedPositions,
    SinusoidalPositions,
    check_length,
    without_padding,
)


class Embeddings(nn.Module):
    """The normalised sum of the vectors of a token, its position and its segment.

    Rotary positions, ALiBi and relative biases act in attention instead.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.token_size
        table = (config.max_position_embeddings, size, config.position_offset)
        self.pad_token_id = config.pad_token_id
        self.tokens = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.positions: LearnedPositions | SinusoidalPositions | None = None
        if config.positions == "learned":
            self.positions = LearnedPositions(*table)
        elif config.positions == "sinusoidal":
            self.positions = SinusoidalPositions(*table)
        self.segments = (
            nn.Embedding(config.type_vocab_size, size) if config.type_vocab_size else None
        )
        self.norm = make_norm(config, size)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.projection = Linear(size, config.hidden_size) if config.embedding_size else None

    def forward(
        self,
        input_ids: Int[Tensor, "*tokens"] | None,
        token_type_ids: Int[Tensor, "*tokens"] | None,
        sequences: Sequences | PaddedSequences,
        inputs_embeds: Float[Tensor, "*tokens size"] | None = None,
    ) -> Float[Tensor, "*tokens hidden"]:
        """Embed tokens.

        All are in segment 0 without `token_type_ids`, or if the model has a single segment.
        `inputs_embeds` replaces the rows of the token table.
        """
        x: Tensor = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.segments is not None:
            if token_type_ids is None or self.segments.num_embeddings == 1:
                token_type_ids = torch.zeros_like(sequences.positions)
            x = x + self.segments(token_type_ids)
        if self.positions is not None:
            check_length(sequences.max_length, self.positions.num_positions)
            positions = sequences.positions
            if self.positions.offset and input_ids is not None:
                positions = without_padding(input_ids.eq(self.pad_token_id), sequences)
            x = x + self.positions(positions)
        x = self.dropout(self.norm(x))
        return x if self.projection is None else self.projection(x)
