"""Which label has this token? A linear layer on each token's vector: names, parts of speech."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import HeadedModel, token_head
from plainformer.encoder.init import initialise
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import Backend
from plainformer.encoder.packing import Sequences


class TokenClassifier(HeadedModel):
    """A score for each label of each token.

    `dropout`: another share than the config's, for the vectors between the layers.
    """

    def __init__(
        self,
        config: EncoderConfig,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        dropout: float | None = None,
        backend: Backend = "fused",
    ) -> None:
        super().__init__()
        config = config if dropout is None else config.with_dropout(dropout)
        self.config = config
        self.backend = backend
        self.labels = tuple(labels)
        self.encoder = Encoder(config, pooler=False)
        self.head = token_head(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = Linear(config.hidden_size, len(self.labels))
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
    ) -> Float[Tensor, "*tokens labels"]:
        """One row of logits for each token; zeros where there is padding."""
        encoded, _, packing = self.encode(input_ids, attention_mask, token_type_ids, sequences)
        logits = self.classifier(self.dropout(self.head(encoded.last_hidden_state)))
        return logits if packing is None else packing.unpack(logits)
