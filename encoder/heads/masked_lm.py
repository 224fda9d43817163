"""Which token stands here? logits = E · head(x) + b, with E the token embeddings themselves.

Sharing E between input and output (Press & Wolf 2017, arXiv:1608.05859) halves the parameters of a
small model; a model whose config says `tie_word_embeddings=False` has a matrix of its own instead.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import PredictionHead
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend

Places = Bool[Tensor, "*tokens"] | Int[Tensor, " chosen"]
"""a mask of the shape of `input_ids`, or, for a packed batch, the places themselves"""


class VocabularyModel(HeadedModel):
    """An encoder, and a score for each token of its vocabulary."""

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

    def token_logits(
        self, encoded: EncoderOutput, inputs: PackedInputs, at: Places | None
    ) -> Float[Tensor, "*places vocab"]:
        """Compute the logits over the vocabulary of every token, or of those `at` some places.

        `at` is a mask of the shape of `input_ids`, or, for a packed batch, the places themselves;
        the result is then `(chosen, vocab)`. The vocabulary is the widest product of a small model,
        so pretraining asks for the masked places alone.
        """
        x = encoded.last_hidden_state
        if at is None:
            return inputs.unpack(self._logits(x))
        return self._logits(inputs.unpack(x)[at])

    def _logits(self, x: Float[Tensor, "chosen hidden"]) -> Float[Tensor, "chosen vocab"]:
        scores = self.encoder.embeddings.tokens if self.decoder is None else self.decoder
        return ops.linear(self.head(x), scores.weight, self.bias)


class MaskedLM(VocabularyModel):
    """A score for each token of the vocabulary, at each place."""

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
        self, encoded: EncoderOutput, inputs: PackedInputs, at: Places | None = None
    ) -> Float[Tensor, "*places vocab"]:
        """Compute the logits over the vocabulary, of every token, or `at` some places."""
        return self.token_logits(encoded, inputs, at)
