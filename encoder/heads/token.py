"""Classify tokens, by a linear layer on the vector of each: names, parts of speech."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import head_size, token_head
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend


class TokenClassifier(HeadedModel):
    """An encoder with logits of the labels for each token."""

    class_name = "TokenClassifier"
    saved_settings = ("labels",)

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        dropout: float | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(encoder, dropout, backend)
        self.labels = tuple(labels)
        self.head = token_head(self.config)
        self.dropout = nn.Dropout(self.config.classifier_dropout)
        self.classifier = Linear(head_size(self.config), len(self.labels))
        self.initialise()

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs
    ) -> Float[Tensor, "*tokens labels"]:
        """Compute the logits of each token; zeros where there is padding."""
        x = self.head(encoded.last_hidden_state)
        return inputs.unpack(self.classifier(self.dropout(x)))
