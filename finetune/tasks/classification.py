"""Classify a text, or a pair of texts: one label each.

    loss = −log softmax(logits)[label]        prediction = the most probable label

Where labels are unbalanced the loss may be weighted or focal, and the rarer of two labels may be
predicted from a tuned probability on, instead of ½: `finetune/losses/class_imbalance.py`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from plainformer.base import UserError, at_least, check_bounds, find_folder, plural
from plainformer.corpora import Row
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.sentence import MODULES
from plainformer.finetune.calibration import moved
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Prediction, known
from plainformer.finetune.data.remarks import of_labels, of_texts
from plainformer.finetune.losses.class_imbalance import (
    GAMMA,
    best_threshold,
    class_weights,
    cross_entropy,
)
from plainformer.finetune.losses.divergence import kl_divergence
from plainformer.finetune.losses.label_smoothing import smoothed
from plainformer.finetune.losses.mixture import mixture
from plainformer.finetune.metrics import ClassMetric
from plainformer.finetune.task import check_label, check_labels
from plainformer.finetune.task_options import (
    LabelOptions,
    SmoothingOptions,
    TaskOptions,
    TextOptions,
)
from plainformer.finetune.tasks.sequence import SequenceTask, label_number
from plainformer.finetune.tasks.texts import TextExample, read_texts
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class ClassExample(TextExample):
    """A text with its label."""

    label: str | None

    @property
    def category(self) -> str | None:
        """Return the label."""
        return self.label


@dataclass(frozen=True)
class ClassPrediction(Prediction):
    """The label of a text, and the probabilities of all, most probable first."""

    label: str
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float:
        """Return the probability of the label."""
        return self.probabilities[self.label]


ClassExampleT = TypeVar("ClassExampleT", bound=ClassExample)


@dataclass(frozen=True, kw_only=True)
class OneLabel(SequenceTask[ClassExampleT, ClassPrediction], Generic[ClassExampleT]):
    """A task that chooses one label for an example."""

    problem_type: ClassVar = "single_label_classification"
    has_sets: ClassVar = True

    labels: tuple[str, ...]
    weights: tuple[float, ...] = field(default=(), compare=False)
    """Weights of the labels in the loss; (): all weigh the same."""
    gamma: float = field(default=0.0, compare=False)
    """Exponent of the focal loss; 0: plain cross-entropy."""
    label_smoothing: float = field(default=0.0, compare=False)
    """Share of the target that all labels divide among them."""
    positive: str | None = None
    """The label that is predicted from `threshold` on; None: the most probable one is."""
    threshold: float = 0.5

    def __post_init__(self) -> None:
        """Check the labels."""
        super().__post_init__()
        check_labels(self.labels, weights=self.weights)
        check_label("positive", self.positive, self.labels)

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[ClassExampleT]) -> list[str]:
        """List the labels and likely faults in them."""
        counts = Counter(e.label for e in examples if e.label is not None)
        return [*of_labels(counts, config.task), *of_texts(examples)]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name the outputs: the labels."""
        return self.labels

    def target(self, example: ClassExampleT) -> Int64[np.ndarray, " 1"] | None:
        """Return the number of the label."""
        if example.label is None:
            return None
        return np.array([label_number(example.label, self.labels, example.source)])

    def loss(self, outputs: Float[Tensor, "items labels"], batch: Batch[Item]) -> Loss:
        """Compute the cross-entropy of the labels, and how many are right ("accuracy")."""
        labels = batch.first(batch.targets)
        correct = (outputs.detach().argmax(-1) == labels).sum()
        total = cross_entropy(outputs, labels, self.weights, self.gamma)
        total = smoothed(total, outputs, labels, self.label_smoothing, self.weights)
        return Loss(total, len(labels), {"accuracy": correct})

    def divergence(
        self,
        outputs: Float[Tensor, "items labels"],
        others: Float[Tensor, "items labels"],
        batch: Batch[Item],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute KL(others ‖ outputs) of the labels' distributions."""
        return Loss(kl_divergence(outputs, others, temperature), len(outputs))

    def average(
        self, outputs: Sequence[Float[Tensor, "items labels"]], temperature: float = 1.0
    ) -> Float[Tensor, "items labels"]:
        """Compute the logits of the mean probabilities."""
        return mixture(outputs, temperature)

    def predict(
        self, outputs: Float[Tensor, "items labels"], batch: Batch[Item]
    ) -> list[ClassPrediction]:
        """Predict by the softmax of the logits, most probable label first."""
        return [self._prediction(row) for row in outputs.detach().softmax(-1).tolist()]

    def _prediction(self, row: list[float]) -> ClassPrediction:
        ranked = sorted(zip(row, self.labels, strict=True), key=itemgetter(0), reverse=True)
        return self.decide(ClassPrediction(ranked[0][1], {label: p for p, label in ranked}))

    def decide(self, prediction: ClassPrediction) -> ClassPrediction:
        """Choose one of two labels by the threshold, if there is one; add the set of labels."""
        p = prediction.probabilities
        if self.positive is not None:
            (other,) = set(self.labels) - {self.positive}
            taken = p[self.positive] >= self.threshold
            prediction = replace(prediction, label=self.positive if taken else other)
        if self.calibration.set_threshold is not None:
            likely = self.calibration.set_of(tuple(p), tuple(p.values()))
            prediction = replace(prediction, set=likely)
        return super().decide(prediction)

    def scaled(
        self, outputs: Float[Tensor, "items labels"], temperature: float
    ) -> Float[Tensor, "items labels"]:
        """Divide the logits by a temperature."""
        return outputs / temperature

    def at(self, temperature: float) -> Self:
        """Return the task at another temperature, with its threshold moved."""
        threshold = moved(self.threshold, self.calibration.temperature, temperature)
        return replace(super().at(temperature), threshold=threshold)

    def tune(
        self, results: Sequence[tuple[ClassExampleT, ClassPrediction]]
    ) -> "OneLabel[ClassExampleT]":
        """Choose the threshold with the best F1 of the rarer label, if there is one."""
        if self.positive is None:
            return self
        truth = np.array([example.label == self.positive for example, _ in results])
        said = np.array([answer.probabilities[self.positive] for _, answer in results])
        return replace(self, threshold=best_threshold(truth, said))

    def pseudo_label(self, example: ClassExampleT, prediction: ClassPrediction) -> ClassExampleT:
        """Return the example with the predicted label."""
        return replace(example, label=prediction.label)

    def metric(self) -> ClassMetric:
        """Measure accuracy, F1, AUC and calibration."""
        return ClassMetric(self.labels)

    def add_to(
        self, metric: ClassMetric, example: ClassExampleT, prediction: ClassPrediction
    ) -> None:
        """Add the true and the predicted label."""
        metric.add(
            known(example.label),
            prediction.label,
            prediction.probabilities,
            example.source,
            example.preview,
        )


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(TextOptions, LabelOptions, SmoothingOptions):
    """Choose one label for a text, or for a pair of texts."""

    name: Literal["classification"] = "classification"

    balance: Literal["none", "weights", "sampling", "focal"] = "none"
    """For rare labels: weights (class weights in the loss), sampling (their examples are repeated),
    or focal (the focal loss, in which examples that are already learned hardly count)."""

    tune_threshold: bool = False
    """With two labels: predict the rarer one above a threshold that is tuned on the validation
    examples for the best F1, in place of 0.5."""

    contrastive: int = 0
    """SetFit, for few labels: train the vectors of texts to be similar where labels are the same,
    on this many pairs of each kind for every text, then a linear classifier on them. 20 is usual,
    with --epochs 1 and a model of sentence vectors. 0: off."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        super().__post_init__()
        check_bounds(self, contrastive=at_least(0))

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` for a tuned threshold without validation examples, or two losses."""
        if self.contrastive:
            check_contrastive(self, config)
        if self.label_smoothing and self.balance == "focal":
            raise UserError("label_smoothing and the focal loss change the same loss: choose one")
        if self.tune_threshold and (config.folds or not config.select):
            raise UserError("tune_threshold needs validation examples by which things are chosen")


def check_contrastive(options: ClassificationOptions, config: "FinetuneConfig") -> None:
    """Raise `UserError` for options of a loss or a head that contrastive training has not."""
    others = {
        "balance": options.balance != "none",
        "label_smoothing": options.label_smoothing > 0,
        "overflow windows": options.overflow == "windows",
        "mixup": config.robust.mixup > 0,
        "from_scratch": config.from_scratch,
        "teacher": bool(config.distillation.teacher),
        **dict.fromkeys(config.tuning.chosen, config.tuning.is_on),
    }
    for name in (name for name, is_set in others.items() if is_set):
        raise UserError(
            "contrastive (SetFit) has no loss of the labels while it trains, so it does not go "
            f"with {name}: leave one out"
        )


@dataclass(frozen=True, kw_only=True)
class Classification(OneLabel[ClassExample]):
    """Choose one label for a text or a pair of texts."""

    Options: ClassVar[type[TaskOptions]] = ClassificationOptions

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ClassExample]) -> "Classification":
        """Collect the labels that occur, sorted, and derive the settings of the loss."""
        options = config.task
        assert isinstance(options, ClassificationOptions)
        names = label_names(examples)
        labels = [example.label for example in examples if example.label is not None]
        return cls(
            labels=names,
            weights=class_weights(labels, names) if options.balance == "weights" else (),
            gamma=GAMMA if options.balance == "focal" else 0.0,
            label_smoothing=options.label_smoothing,
            positive=rarer(labels) if options.tune_threshold else None,
            max_length=config.max_length,
            overflow=options.overflow,
        )

    def load(self, folder: Path) -> PretrainedModel:
        """Load the classifier in `folder`: a head, or the last layer on a vector of sentences."""
        if not (find_folder(folder) / MODULES).is_file():
            return super().load(folder)
        model = SentenceEncoder.from_pretrained(folder)
        if model.size != len(self.labels):
            raise UserError(
                f"{folder}: {MODULES} says {plural(model.size, 'output')}, and task.json "
                f"{plural(len(self.labels), 'label')}"
            )
        return model

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ClassExample:
        """Read a row with `text`, `label` and an optional `pair`."""
        return ClassExample(**read_texts(row, labelled), label=label_of(row, labelled))


def label_of(row: Row, labelled: bool) -> str | None:
    """Read the column `label`, unless labels are to be predicted.

    A list of one label, as doccano and Prodigy write it, is that label. A cell in brackets is a
    label, too, unless it is a list of texts.
    """
    if not labelled:
        return None
    (given,) = row.require("label")
    if isinstance(given, str) and re.match(r"""\[\s*['"]""", given):
        given = row.items("label")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        label = given[0].strip()
    elif isinstance(given, list):
        raise UserError(f"{row.source}: {given!r:.40} is not one label: see the task multi-label")
    else:
        label = row.sure_string("label").strip()
    if not label:
        raise UserError(f"{row.source}: the label is empty")
    return label


def label_names(examples: Sequence[ClassExample]) -> tuple[str, ...]:
    """Return the labels that occur, sorted; raise `UserError` for fewer than two."""
    names = sorted({example.label for example in examples if example.label is not None})
    if len(names) < 2:
        raise UserError(
            f"{examples[0].file}: every example has the label {names[0]!r}: "
            "there is nothing to learn"
        )
    return tuple(names)


def rarer(labels: Sequence[str]) -> str:
    """Return the rarer of two labels; raise `UserError` where there are more of them."""
    counts = Counter(labels)
    if len(counts) != 2:
        raise UserError(f"tune_threshold is for two labels, and there are {len(counts)}")
    return min(sorted(counts), key=counts.__getitem__)
