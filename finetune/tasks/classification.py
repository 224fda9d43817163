"""Classification: which one label has a text, or a pair of texts?

    loss = −log softmax(logits)[label]        answer = the most probable label

Where labels are unbalanced the loss may be weighted or focal, and the rarer of two labels may be
given from another probability than ½ on: `finetune/losses/class_imbalance.py`.

The logits of a text that is read in windows are the mean of its windows' logits.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError, did_you_mean
from plainformer.corpora import Row
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.remarks import of_labels, of_texts
from plainformer.finetune.losses.class_imbalance import (
    GAMMA,
    best_threshold,
    class_weights,
    cross_entropy,
)
from plainformer.finetune.metrics import ClassMetric
from plainformer.finetune.metrics.classification import Labelled
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks.texts import Text, TextExample
from plainformer.tokenizer import Encoding, Tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

LabelledT = TypeVar("LabelledT", bound=Labelled)


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(TextOptions):
    """Choose one label for a text, or for a pair of texts."""

    name: Literal["classification"] = "classification"

    balance: Literal["none", "weights", "sampling", "focal"] = "none"
    """Help for rare labels: weights in the loss, repeating their examples, or the focal loss, to
    which well-learned examples hardly count."""

    tune_threshold: bool = False
    """Of two labels, give the rarer one from the probability on at which its F1 on the validation
    examples is best."""

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where a threshold is tuned and no validation examples may choose."""
        if self.tune_threshold and (config.folds or not config.select):
            raise UserError("tune_threshold needs validation examples by which things are chosen")


@dataclass(frozen=True)
class ClassExample(TextExample):
    """A text with its label; None where it is not known."""

    label: str | None


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

    labels: tuple[str, ...]
    weights: tuple[float, ...] = ()
    """of the labels in the loss; (): all weigh the same"""
    gamma: float = 0.0
    """of the focal loss; 0: plain cross-entropy"""
    positive: str | None = None
    """the label that is given from `threshold` on; None: the most probable one is"""
    threshold: float = 0.5

    @classmethod
    def label_of(cls, example: LabelledT) -> str | None:
        """Its label."""
        return example.label

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[LabelledT]) -> list[str]:
        """List the labels and likely faults in them."""
        counts = Counter(e.label for e in examples if e.label is not None)
        return [*of_labels(counts, config.task), *of_texts(examples)]

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """A new classifier on the pretrained encoder."""
        return SequenceClassifier.from_pretrained(
            config.model,
            labels=self.labels,
            **config.text_settings,
            problem_type="single_label_classification",
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
                f"learns: {', '.join(self.labels)}{did_you_mean(example.label, self.labels)}"
            )
        number = np.array([self.labels.index(example.label)])
        return Item(encodings, (number,) * len(encodings))

    def loss(self, outputs: Float[Tensor, "sequences labels"], batch: Batch) -> Loss:
        """The cross-entropy of the labels, and how many are right ("accuracy")."""
        logits, labels = batch.mean(outputs), batch.first(batch.targets)
        correct = (logits.detach().argmax(-1) == labels).sum()
        total = cross_entropy(logits, labels, self.weights, self.gamma)
        return Loss(total, len(labels), {"accuracy": correct})

    def predict(
        self, outputs: Float[Tensor, "sequences labels"], batch: Batch
    ) -> list[ClassPrediction]:
        """The softmax of the logits, most probable label first."""
        rows = batch.mean(outputs.detach().float()).softmax(-1).cpu().numpy()
        return [self._prediction(row) for row in rows]

    def _prediction(self, row: Float[np.ndarray, " labels"]) -> ClassPrediction:
        ranked = np.argsort(-row, kind="stable")
        probabilities = {self.labels[i]: float(row[i]) for i in ranked}
        return self.decide(ClassPrediction(self.labels[ranked[0]], probabilities))

    def decide(self, prediction: ClassPrediction) -> ClassPrediction:
        """Of two labels the one that the threshold says, where one was asked for."""
        if self.positive is None:
            return prediction
        (other,) = set(self.labels) - {self.positive}
        taken = prediction.probabilities[self.positive] >= self.threshold
        return replace(prediction, label=self.positive if taken else other)

    def tune(
        self, results: Sequence[tuple[LabelledT, ClassPrediction]]
    ) -> Task[LabelledT, ClassPrediction]:
        """The threshold with the best F1 of the rarer label, where one was asked for."""
        if self.positive is None:
            return self
        truth = np.array([example.label == self.positive for example, _ in results])
        said = np.array([answer.probabilities[self.positive] for _, answer in results])
        return replace(self, threshold=best_threshold(truth, said))

    def metric(self) -> ClassMetric:
        """Accuracy, F1, AUC, calibration."""
        return ClassMetric(self.labels)


@dataclass(frozen=True, kw_only=True)
class Classification(OneLabel[ClassExample]):
    """Which label?"""

    Options: ClassVar[type[TaskOptions]] = ClassificationOptions

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[ClassExample]
    ) -> Task[ClassExample, ClassPrediction]:
        """The labels are those that occur, sorted; how often they do decides what they weigh."""
        options = config.task
        assert isinstance(options, ClassificationOptions)
        names = label_names(examples)
        labels = [example.label for example in examples if example.label is not None]
        return cls(
            labels=names,
            weights=class_weights(labels, names) if options.balance == "weights" else (),
            gamma=GAMMA if options.balance == "focal" else 0.0,
            positive=rarer(labels) if options.tune_threshold else None,
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ClassExample:
        """A row has `text` and `label`, and may have `pair`."""
        return ClassExample(Text.of(row, labelled), label_of(row, labelled))

    def encode(self, example: ClassExample, tokenizer: Tokenizer) -> Item:
        """One sequence, or windows."""
        text = example.text
        return self.item(example, self.encodings(tokenizer, text.text, text.pair))


def label_of(row: Row, labelled: bool) -> str | None:
    """Read the column `label`, unless labels are to be predicted.

    A list of one label is that label (doccano and Prodigy write it so). A cell in brackets that is
    no list of texts is a label.
    """
    if not labelled:
        return None
    (given,) = row.require("label")
    if isinstance(given, str) and re.match(r"""\[\s*['"]""", given):
        given = row.items("label")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        return given[0].strip()
    if isinstance(given, list):
        raise UserError(f"{row.source}: {given!r:.40} is not one label: see the task multi-label")
    label = row.sure_string("label").strip()
    if not label:
        raise UserError(f"{row.source}: the label is empty")
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


def rarer(labels: Sequence[str]) -> str:
    """The one of two labels that occurs less often; `UserError` where there are more of them."""
    counts = Counter(labels)
    if len(counts) != 2:
        raise UserError(f"tune_threshold is for two labels, and there are {len(counts)}")
    return min(sorted(counts), key=counts.__getitem__)
