"""Classification: which one label has a text, or a pair of texts?

    loss = −log softmax(logits)[label]        answer = the most probable label

The logits of a text that is read in windows are the mean of its windows' logits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from cellar import UserError
from corpora import Row
from encoder import SequenceClassifier, ops
from encoder.pretrained import PretrainedModel
from finetune.batch import Batch, Item
from finetune.metrics import ClassMetric
from finetune.metrics.classes import Labelled
from finetune.task import Task
from finetune.tasks.texts import Text
from tokenizer import Encoding, Tokenizer
from training import Loss

if TYPE_CHECKING:
    from finetune.config import FinetuneConfig

LabelledT = TypeVar("LabelledT", bound=Labelled)


@dataclass(frozen=True)
class ClassExample:
    """A text with its label; None where it is not known."""

    text: Text
    label: str | None

    @property
    def place(self) -> str:
        """File and line."""
        return self.text.place

    @property
    def shown(self) -> str:
        """The text, as a person reads it."""
        return self.text.shown


@dataclass(frozen=True)
class ClassPrediction:
    """The most probable label of a text, and the probabilities of all."""

    label: str
    probabilities: dict[str, float]
    """most probable first"""

    def to_json(self) -> dict[str, Any]:
        """Label and probabilities."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class OneLabel(Task[LabelledT, ClassPrediction]):
    """What all tasks share that choose one label for an example."""

    monitor = "accuracy"

    labels: tuple[str, ...]

    @classmethod
    def label_of(cls, example: LabelledT) -> str | None:
        """Its label."""
        return example.label

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """A new classifier on the pretrained encoder."""
        return SequenceClassifier.from_pretrained(
            config.model, labels=self.labels, pooling=config.pooling, dropout=config.dropout
        )

    def load(self, folder: Path) -> PretrainedModel:
        """The classifier in `folder`."""
        return SequenceClassifier.from_pretrained(folder)

    def item(self, example: LabelledT, encodings: tuple[Encoding, ...]) -> Item:
        """The sequences, of which each has the label of the example."""
        if example.label is None:
            return Item(encodings)
        if example.label not in self.labels:
            raise UserError(
                f"{example.place}: the label {example.label!r} is not among those the model "
                f"learns: {', '.join(self.labels)}"
            )
        number = np.array([self.labels.index(example.label)])
        return Item(encodings, (number,) * len(encodings))

    def loss(self, outputs: Float[Tensor, "sequences labels"], batch: Batch) -> Loss:
        """The cross-entropy of the labels, and how many are right ("accuracy")."""
        logits, labels = batch.mean(outputs), batch.first(batch.targets)
        correct = (logits.detach().argmax(-1) == labels).sum()
        return Loss(ops.cross_entropy(logits, labels), len(labels), {"accuracy": correct})

    def predict(
        self, outputs: Float[Tensor, "sequences labels"], batch: Batch
    ) -> list[ClassPrediction]:
        """The softmax of the logits, most probable label first."""
        rows = batch.mean(outputs.detach().float()).softmax(-1).cpu().numpy()
        return [self._prediction(row) for row in rows]

    def _prediction(self, row: Float[np.ndarray, " labels"]) -> ClassPrediction:
        ranked = np.argsort(-row, kind="stable")
        probabilities = {self.labels[i]: float(row[i]) for i in ranked}
        return ClassPrediction(self.labels[ranked[0]], probabilities)

    def metric(self) -> ClassMetric:
        """Accuracy, F1, AUC, calibration."""
        return ClassMetric(self.labels)


@dataclass(frozen=True, kw_only=True)
class Classification(OneLabel[ClassExample]):
    """Which label?"""

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ClassExample]) -> "Classification":
        """The labels are those that occur, sorted."""
        return cls(labels=label_names(examples), max_length=config.max_length, long=config.long)

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ClassExample:
        """A row has `text` and `label`, and may have `pair`."""
        return ClassExample(Text.of(row, labelled), label_of(row, labelled))

    def encode(self, example: ClassExample, tokenizer: Tokenizer) -> Item:
        """One sequence, or windows."""
        text = example.text
        return self.item(example, self.encodings(tokenizer, text.text, text.pair))


def label_of(row: Row, labelled: bool) -> str | None:
    """The column `label`; it is not looked at where it is what is asked for."""
    if not labelled:
        return None
    label = row.string("label")
    if not label.strip():
        raise UserError(f"{row.file}:{row.line}: the label is empty")
    return label


def label_names(examples: Sequence[Labelled]) -> tuple[str, ...]:
    """The labels that occur, sorted; `UserError` when there is nothing to tell apart."""
    names = sorted({example.label for example in examples if example.label is not None})
    if len(names) < 2:
        raise UserError(
            f"{examples[0].place.rpartition(':')[0]}: every example has the label {names[0]!r}: "
            "there is nothing to learn"
        )
    return tuple(names)
