"""Predict masked tokens: logits = E · head(x) + b, with E the token embeddings.

Sharing E between input and output (Press & Wolf 2017, arXiv:1608.05859) halves the parameters of a
small model. A config with `tie_word_embeddings=False` gives the output a matrix of its own.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import PredictionHead, Select, take
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend

TargetPositions = Bool[Tensor, "*tokens"] | Int[Tensor, " targets"]
"""A mask of the shape of `input_ids`, or, for a packed batch, indices of its tokens."""


class VocabularyModel(HeadedModel):
    """An encoder with a score for each token of its vocabulary."""

    has_decoder = True

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        dropout: float | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(encoder, dropout, backend)
        config = self.config
        self.head = PredictionHead(config)
        tied = config.tie_word_embeddings
        self.decoder = None if tied else Linear(config.token_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def reads(self, inputs: PackedInputs, **options: Any) -> Select | None:
        """Return the function that selects the targets of a packed batch; None without any."""
        at = options.get("target_positions")
        return None if at is None or inputs.packing is not None else lambda x: x[at]

    def token_logits(
        self,
        encoded: EncoderOutput,
        inputs: PackedInputs,
        target_positions: TargetPositions | None,
    ) -> Float[Tensor, "*targets vocab"]:
        """Compute the logits over the vocabulary of every token, or of the targets alone.

        The vocabulary is the widest product of a small model, so pretraining computes it for the
        masked tokens alone: `(targets, vocab)`.
        """
        if target_positions is None:
            return inputs.unpack(self._logits(encoded.last_hidden_state))
        return self._logits(take(encoded, inputs, lambda x: inputs.unpack(x)[target_positions]))

    def _logits(self, x: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens vocab"]:
        table = self.encoder.embeddings.tokens if self.decoder is None else self.decoder
        return ops.linear(self.head(x), table.weight, self.bias)


class MaskedLM(VocabularyModel):
    """An encoder with logits over the vocabulary for each token."""

    class_name = "MaskedLM"

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        backend: Backend | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(encoder, dropout, backend)
        self.initialise()

    def apply_head(
        self,
        encoded: EncoderOutput,
        inputs: PackedInputs,
        target_positions: TargetPositions | None = None,
    ) -> Float[Tensor, "*targets vocab"]:
        """Compute the logits over the vocabulary of every token, or of the targets alone."""
        return self.token_logits(encoded, inputs, target_positions)
