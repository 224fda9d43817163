"""Which token stands here? logits = E · head(x) + b, with E the token embeddings themselves.

Sharing E between input and output (Press & Wolf 2017, arXiv:1608.05859) halves the parameters of a
small model; a model whose config says `tie_word_embeddings=False` has a matrix of its own instead.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import HeadedModel, PredictionHead
from plainformer.encoder.init import initialise
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import Backend
from plainformer.encoder.packing import Packing, Sequences

Places = Bool[Tensor, "*tokens"] | Int[Tensor, " chosen"]
"""a mask of the shape of `input_ids`, or, for a packed batch, the places themselves"""


class VocabularyModel(HeadedModel):
    """An encoder, and a score for each token of its vocabulary."""

    def __init__(self, config: EncoderConfig, backend: Backend, pooler: bool) -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        self.encoder = Encoder(config, pooler=pooler)
        self.head = PredictionHead(config)
        tied = config.tie_word_embeddings
        self.decoder = None if tied else Linear(config.token_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def scores(
        self, x: Float[Tensor, "tokens hidden"], packing: Packing | None, at: Places | None
    ) -> Float[Tensor, "*places vocab"]:
        """Of each token, padded again where it came so; or only of those `at` the given places."""
        if packing is not None and at is not None:
            return self._logits(packing.unpack(x)[at])
        logits = self._logits(x if at is None else x[at])
        return logits if packing is None else packing.unpack(logits)

    def _logits(self, x: Float[Tensor, "chosen hidden"]) -> Float[Tensor, "chosen vocab"]:
        scores = self.encoder.embeddings.tokens if self.decoder is None else self.decoder
        return ops.linear(self.head(x), scores.weight, self.bias)


class MaskedLM(VocabularyModel):
    """A score for each token of the vocabulary, at each place.

    `dropout`: another share than the config's, for the vectors between the layers.
    """

    def __init__(
        self, config: EncoderConfig, backend: Backend = "fused", dropout: float | None = None
    ) -> None:
        config = config if dropout is None else config.with_dropout(dropout)
        super().__init__(config, backend, pooler=False)
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
        at: Places | None = None,
    ) -> Float[Tensor, "*places vocab"]:
        """Logits over the vocabulary, for every token, or only `at` those that are asked for.

        `at` is a mask of the shape of `input_ids`, or, for a packed batch, the places themselves;
        the result is then `(chosen, vocab)`. The vocabulary is the widest product of a small model,
        so pretraining asks for the masked places alone.
        """
        encoded, _, packing = self.encode(input_ids, attention_mask, token_type_ids, sequences)
        return self.scores(encoded.last_hidden_state, packing, at)
