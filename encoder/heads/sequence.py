"""Which label has this text? A linear layer on one vector for the whole text.

`config.classifier_head` says where the vector comes from:

- `pooler`: tanh(W x) of the first token, by the encoder's own pooler (BERT, ALBERT);
- `tanh`, `gelu`, `relu`: a dense layer of the classifier's on the first token, with this activation
  (RoBERTa, ELECTRA, DistilBERT);
- `prediction`: the first token's vector or the mean over the text (`pooling`), then a prediction
  head, which starts from the one that masked-language modelling trained (ModernBERT).
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import DenseHead, Pooling, PredictionHead, pool
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


class TextModel(HeadedModel):
    """An encoder, and a linear layer on one vector for the whole text.

    `pooling`: for a prediction head; `UserError` where the mean is asked of another, which reads
    the first token.
    """

    has_pooler = None
    drops_before_dense = True
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
        self.classifier = Linear(config.hidden_size, outputs)
        self.initialise()

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs
    ) -> Float[Tensor, "batch outputs"]:
        """Compute one row of logits for each text; zeros for a row without tokens."""
        x, sequences = encoded.last_hidden_state, inputs.sequences
        if isinstance(self.head, PredictionHead):
            pooled = self.head(pool(x, sequences, self.pooling))
        elif isinstance(self.head, DenseHead):
            first = pool(x, sequences, "cls")
            pooled = self.head(self.dropout(first) if self.drops_before_dense else first)
        else:
            pooled = encoded.pooler_output
        return inputs.unpack_rows(self.classifier(self.dropout(pooled)))


class SequenceClassifier(TextModel):
    """An encoder with a linear layer that scores each label of a text.

    `problem_type`: what the scores are, as `transformers` calls it: logits of which one label is
    true, or each on its own, or the answer itself.
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
        self.problem_type = problem_type or usual_problem(self.labels)


def usual_problem(labels: Sequence[str]) -> ProblemType:
    """What scores are where nothing is said of it: an only one is the answer, of several one is."""
    return "regression" if len(labels) == 1 else "single_label_classification"
