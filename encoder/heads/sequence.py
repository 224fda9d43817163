"""Classify texts, by a linear layer on one vector for each.

`config.classifier_head` chooses the vector:

- `pooler`: tanh(W x) of the first token, by the encoder's pooler (BERT, ALBERT);
- `tanh`, `gelu`, `relu`: a dense layer of the head on the first token, with this activation
  (RoBERTa, ELECTRA, DistilBERT);
- `prediction`: the first token's vector or the mean over the text (`pooling`), then a prediction
  head, which starts from the one trained by masked language modelling (ModernBERT).
"""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import (
    DenseHead,
    Pooling,
    PredictionHead,
    Select,
    head_size,
    pool,
    pooler_output,
    take,
)
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


class TextModel(HeadedModel):
    """An encoder with a linear layer on one vector for each text.

    `pooling`: how a prediction head pools the text. Raises `UserError` for the mean with another
    head, which reads the first token.
    """

    has_pooler = None
    dropout_before_dense = True
    """Apply dropout before the dense layer of the head, as well as after it."""

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        outputs: int,
        pooling: Pooling,
        dropout: float | None,
        backend: Backend | None,
    ) -> None:
        super().__init__(encoder, dropout, backend)
        config = self.config
        if pooling == "mean" and config.classifier_head != "prediction":
            raise UserError(
                "the classifier of this family reads the first token: pooling mean is for modern"
            )
        self.pooling = pooling
        self.head: PredictionHead | DenseHead | None = None
        if config.classifier_head == "prediction":
            self.head = PredictionHead(config)
        elif config.classifier_head != "pooler":
            self.head = DenseHead(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = Linear(head_size(config), outputs)
        self.initialise()

    def reads(self, inputs: PackedInputs, **options: Any) -> Select | None:
        """Return the function that selects the first token of each text; None: all are read."""
        return None if self.pooling == "mean" else inputs.sequences.first

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs
    ) -> Float[Tensor, "batch outputs"]:
        """Compute one row of logits for each text; zeros for a row without tokens."""
        if self.head is None:
            pooled = pooler_output(self.encoder, encoded, inputs)
        elif self.pooling == "mean":
            pooled = self.head(pool(encoded.last_hidden_state, inputs.sequences, "mean"))
        else:
            first = take(encoded, inputs, inputs.sequences.first)
            is_dropped = isinstance(self.head, DenseHead) and self.dropout_before_dense
            pooled = self.head(self.dropout(first) if is_dropped else first)
        return inputs.unpack_rows(self.classifier(self.dropout(pooled)))


class SequenceClassifier(TextModel):
    """An encoder with logits of the labels for each text.

    `problem_type`: the meaning of the outputs, in the terms of `transformers`: logits of one label
    out of all, logits of each label on its own, or numbers.
    """

    class_name = "SequenceClassifier"
    saved_settings = ("labels", "pooling", "problem_type")

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        pooling: Pooling = "cls",
        dropout: float | None = None,
        problem_type: ProblemType | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(encoder, len(labels), pooling, dropout, backend)
        self.labels = tuple(labels)
        self.problem_type = problem_type or default_problem_type(self.labels)


def default_problem_type(labels: Sequence[str]) -> ProblemType:
    """Return the problem type of a config without one: one output is a number, several classify."""
    return "regression" if len(labels) == 1 else "single_label_classification"
