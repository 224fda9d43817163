"""What stands on an encoder: heads as the two architectures define them.

Each model speaks as `Encoder` does: a padded batch, or a packed one when `sequences` is given.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from encoder import ops
from encoder.config import EncoderConfig
from encoder.init import initialise
from encoder.model import Encoder, enter
from encoder.norm import make_norm
from encoder.ops import Backend
from encoder.packing import Sequences
from encoder.pretrained import PretrainedModel

Pooling = Literal["cls", "mean"]


class PredictionHead(nn.Module):
    """norm(gelu(W x)): the step between the encoder's vectors and a decision."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        bias = config.architecture == "bert"
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=bias)
        self.norm = make_norm(config)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Shape: as it came."""
        y: Tensor = self.norm(ops.gelu(self.dense(x)))
        return y


class MaskedLM(PretrainedModel):
    """Which token stands here? logits = E · head(x) + b, with E the token embeddings themselves.

    Sharing E between input and output (Press & Wolf 2017, arXiv:1608.05859) halves the parameters
    of a small model.
    """

    def __init__(self, config: EncoderConfig, backend: Backend = "fused") -> None:
        super().__init__()
        self.config = config
        self.backend = backend
        self.encoder = Encoder(config, pooler=False)
        self.head = PredictionHead(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
        at: Bool[Tensor, "*tokens"] | Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "*places vocab"]:
        """Logits over the vocabulary, for every token, or only `at` those that are asked for.

        `at` is a mask of the shape of `input_ids`, or, for a packed batch, the places themselves;
        the result is then `(chosen, vocab)`. The vocabulary is the widest product of a small model,
        so pretraining asks for the masked places alone.
        """
        packing = None
        if sequences is None:
            packing, input_ids, token_type_ids = enter(input_ids, attention_mask, token_type_ids)
            sequences = packing.sequences
        x = self.encoder(input_ids, None, token_type_ids, sequences).last_hidden_state
        if packing is not None and at is not None:
            return self._logits(packing.unpack(x)[at])
        logits = self._logits(x if at is None else x[at])
        return logits if packing is None else packing.unpack(logits)

    def _logits(self, x: Float[Tensor, "chosen hidden"]) -> Float[Tensor, "chosen vocab"]:
        embeddings = self.encoder.embeddings.tokens.weight
        return nn.functional.linear(self.head(x), embeddings, self.bias)


class SequenceClassifier(PretrainedModel):
    """Which label has this text? A linear layer on one vector for the whole text.

    - `bert`: the pooler's vector of the first token;
    - `modern`: the first token's vector or the mean over the text (`pooling`), then a prediction
      head, which starts from the one that masked-language modelling trained.

    `dropout`: another share than the config's, for the vectors between the layers.
    """

    def __init__(
        self,
        config: EncoderConfig,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        pooling: Pooling = "cls",
        dropout: float | None = None,
        backend: Backend = "fused",
    ) -> None:
        super().__init__()
        config = config if dropout is None else config.with_dropout(dropout)
        self.config = config
        self.backend = backend
        self.labels = tuple(labels)
        self.pooling = pooling
        self.encoder = Encoder(config)
        self.head = PredictionHead(config) if config.architecture == "modern" else None
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, len(self.labels))
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
    ) -> Float[Tensor, "batch labels"]:
        """One row of logits for each text; zeros for a row without tokens."""
        packing = None
        if sequences is None:
            packing, input_ids, token_type_ids = enter(input_ids, attention_mask, token_type_ids)
            sequences = packing.sequences
        encoded = self.encoder(input_ids, None, token_type_ids, sequences)
        if self.head is None:
            pooled = encoded.pooler_output
        else:
            pooled = self.head(pool(encoded.last_hidden_state, sequences, self.pooling))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits if packing is None else packing.unpack_rows(logits)


def pool(
    x: Float[Tensor, "tokens hidden"], sequences: Sequences, pooling: Pooling
) -> Float[Tensor, "sequences hidden"]:
    """One vector for each sequence: its first token's, or the mean of all."""
    if pooling == "cls":
        return x[sequences.cu_seqlens[:-1]]
    sums = x.new_zeros(len(sequences.lengths), x.shape[-1]).index_add(0, sequences.rows, x)
    return sums / sequences.cu_seqlens.diff()[:, None]
