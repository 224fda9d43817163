"""Classify a text by any number of labels, or none.

    loss = mean over the labels of −log σ(±logit)      + where the label is true, − where it is not
    prediction = the labels with σ(logit) ≥ threshold

Each label has a threshold of its own, the one with the best F1 on the validation examples. Where
labels are rare the loss may be weighted or focal: `finetune/losses/class_imbalance.py`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.finetune.calibration import moved
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Prediction, known
from plainformer.finetune.data.remarks import of_labels, of_texts
from plainformer.finetune.losses.class_imbalance import GAMMA, best_threshold, binary_cross_entropy
from plainformer.finetune.losses.divergence import bernoulli_kl_divergence
from plainformer.finetune.losses.mixture import bernoulli_mixture
from plainformer.finetune.metrics import LabelsMetric
from plainformer.finetune.task import check_labels
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks.sequence import SequenceTask, label_number
from plainformer.finetune.tasks.texts import TextExample, read_texts
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class LabelsExample(TextExample):
    """A text with any number of labels."""

    labels: tuple[str, ...] | None
    delimiter: str = ""
    """The delimiter of the labels in one cell."""

    @property
    def stratum(self) -> tuple[str, ...]:
        """Return all labels."""
        return tuple(sorted(self.labels or ()))


@dataclass(frozen=True)
class LabelsPrediction(Prediction):
    """The labels of a text, and the probability of each, most probable first.

    Probabilities do not add up to 1: each label is decided on its own.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float:
        """Return the probability of the least certain decision."""
        return min(p if label in self.labels else 1 - p for label, p in self.probabilities.items())


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions(TextOptions):
    """Decide for each of several labels whether a text has it."""

    name: Literal["multi-label"] = "multi-label"

    balance: Literal["none", "weights", "focal"] = "none"
    """For rare labels: weights (in the loss of each label, for the texts that have it), or focal
    (the focal loss, in which examples that are already learned hardly count)."""


@dataclass(frozen=True, kw_only=True)
class MultiLabel(SequenceTask[LabelsExample, LabelsPrediction]):
    """Choose any number of labels for a text or a pair of texts."""

    Options: ClassVar[type[TaskOptions]] = MultiLabelOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "labels")
    problem_type: ClassVar = "multi_label_classification"

    labels: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    """The probability from which on each label is predicted; (): 0.5."""
    weights: tuple[float, ...] = field(default=(), compare=False)
    """Weights of each label's own texts in its loss; (): they weigh as much as the others."""
    gamma: float = field(default=0.0, compare=False)
    """Exponent of the focal loss; 0: plain cross-entropy."""

    def __post_init__(self) -> None:
        """Check the labels."""
        super().__post_init__()
        check_labels(self.labels, thresholds=self.thresholds, weights=self.weights)

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[LabelsExample]) -> "MultiLabel":
        """Collect the labels that occur, sorted."""
        options = config.task
        assert isinstance(options, MultiLabelOptions)
        counts = Counter(label for example in examples for label in example.labels or ())
        if all(count == len(examples) for count in counts.values()):
            shared = f"the labels {', '.join(sorted(counts))}" if counts else "no label"
            raise UserError(
                f"{examples[0].file}: every example has {shared}: there is nothing to learn"
            )
        labels = sorted(counts)
        weights = (max(1, len(examples) - counts[label]) / counts[label] for label in labels)
        return cls(
            labels=tuple(labels),
            weights=tuple(weights) if options.balance == "weights" else (),
            gamma=GAMMA if options.balance == "focal" else 0.0,
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> LabelsExample:
        """Read a row with `text`, `labels` and an optional `pair`.

        `labels` is a list; or a cell with a list (as JSON or Python has it) or with the labels
        separated by "|", else ";", else ",". An empty list: no label is true; an empty cell: the
        labels are unknown.
        """
        labels, delimiter = read_labels(row) if labelled else (None, "")
        return LabelsExample(**read_texts(row, labelled), labels=labels, delimiter=delimiter)

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[LabelsExample]) -> list[str]:
        """List the labels, likely faults in them, and the delimiter of cells."""
        counts = Counter(label for example in examples for label in example.labels or ())
        found = of_labels(counts, config.task) if counts else []
        for sign in {example.delimiter for example in examples} - {"", "|"}:
            first = next(example for example in examples if example.delimiter == sign)
            found.append(
                f"labels are split at {sign!r} ({first.source}: "
                f"{' | '.join(first.labels or ())}); a label that holds one needs a list: "
                '["a, b"]'
            )
        return [*found, *of_texts(examples)]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name the outputs: the labels."""
        return self.labels

    def target(self, example: LabelsExample) -> Float32[np.ndarray, "1 labels"] | None:
        """Return 1 for each label of the text, and 0 for the others."""
        if example.labels is None:
            return None
        target = np.zeros((1, len(self.labels)), np.float32)
        for label in example.labels:
            target[0, label_number(label, self.labels, example.source)] = 1
        return target

    def loss(self, outputs: Float[Tensor, "items labels"], batch: Batch[Item]) -> Loss:
        """Compute the binary cross-entropy: a mean over the labels, summed over the texts."""
        truth = batch.first(batch.targets)
        return Loss(binary_cross_entropy(outputs, truth, self.weights, self.gamma), len(truth))

    def divergence(
        self,
        outputs: Float[Tensor, "items labels"],
        others: Float[Tensor, "items labels"],
        batch: Batch[Item],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute the mean KL(others ‖ outputs) of the labels' Bernoulli distributions."""
        return Loss(bernoulli_kl_divergence(outputs, others, temperature), len(outputs))

    def average(
        self, outputs: Sequence[Float[Tensor, "items labels"]], temperature: float = 1.0
    ) -> Float[Tensor, "items labels"]:
        """Compute the logits of the mean probability of each label."""
        return bernoulli_mixture(outputs, temperature)

    def predict(
        self, outputs: Float[Tensor, "items labels"], batch: Batch[Item]
    ) -> list[LabelsPrediction]:
        """Predict the labels whose probability reaches their threshold."""
        rows = outputs.detach().sigmoid().cpu().numpy()
        return [self._prediction(row) for row in rows]

    def _prediction(self, row: Float[np.ndarray, " labels"]) -> LabelsPrediction:
        probabilities = {self.labels[i]: float(row[i]) for i in np.argsort(-row, kind="stable")}
        return self.decide(LabelsPrediction((), probabilities))

    def decide(self, prediction: LabelsPrediction) -> LabelsPrediction:
        """Choose the labels whose probability reaches their threshold."""
        thresholds = self.thresholds or (0.5,) * len(self.labels)
        least = dict(zip(self.labels, thresholds, strict=True))
        given = (label for label, p in prediction.probabilities.items() if p >= least[label])
        return super().decide(replace(prediction, labels=tuple(given)))

    def scaled(
        self, outputs: Float[Tensor, "items labels"], temperature: float
    ) -> Float[Tensor, "items labels"]:
        """Divide the logits by a temperature."""
        return outputs / temperature

    def at(self, temperature: float) -> Self:
        """Return the task at another temperature, with its thresholds moved."""
        before = self.calibration.temperature
        thresholds = tuple(moved(t, before, temperature) for t in self.thresholds)
        return replace(super().at(temperature), thresholds=thresholds)

    def tune(self, results: Sequence[tuple[LabelsExample, LabelsPrediction]]) -> "MultiLabel":
        """Choose the threshold of each label with its best F1."""
        thresholds = []
        for label in self.labels:
            truth = np.array([label in (example.labels or ()) for example, _ in results])
            said = np.array([answer.probabilities[label] for _, answer in results])
            thresholds.append(best_threshold(truth, said))
        return replace(self, thresholds=tuple(thresholds))

    def pseudo_label(self, example: LabelsExample, prediction: LabelsPrediction) -> LabelsExample:
        """Return the example with the predicted labels."""
        return replace(example, labels=prediction.labels)

    def metric(self) -> LabelsMetric:
        """Measure F1 over all labels and of each, AUC and exact matches."""
        return LabelsMetric(self.labels)

    def add_to(
        self, metric: LabelsMetric, example: LabelsExample, prediction: LabelsPrediction
    ) -> None:
        """Add the true and the predicted labels."""
        metric.add(
            known(example.labels),
            prediction.labels,
            prediction.probabilities,
            example.source,
            example.preview,
        )


def read_labels(row: Row) -> tuple[tuple[str, ...], str]:
    """Read the column `labels` without duplicates, and the delimiter if it is one cell.

    Raises `UserError` by file and line for anything but labels, such as a vector of 0 and 1.
    """
    given, sign = row.items("labels"), ""
    if isinstance(given, dict) and isinstance(given.get("choices"), list):
        given = given["choices"]  # Label Studio
    if isinstance(given, str):
        given, sign = parted(row.sure_string("labels"))
        if not given:
            raise UserError(
                f"{row.source}: no value in column 'labels'; write [] where none is true"
            )
    if not isinstance(given, list) or any(isinstance(x, list | dict | None) for x in given):
        found = f"{given!r:.40}"
        raise UserError(f"{row.source}: column 'labels' is no list of labels: {found}")
    labels = [str(label).strip() for label in given]
    if any(isinstance(x, bool | float) for x in given) or is_vector(labels):
        raise UserError(
            f"{row.source}: {row.fields['labels']!r:.40} is a vector, which names no label: write "
            "the names, or a column for each label: --columns labels=NAME,NAME"
        )
    if not all(labels):
        raise UserError(f"{row.source}: a label is empty")
    return tuple(dict.fromkeys(labels)), sign


def parted(cell: str) -> tuple[list[str], str]:
    """Split a cell into labels; return them and their delimiter."""
    sign = next((sign for sign in "|;," if sign in cell), "")
    if not sign and is_vector(cell.split()):
        return cell.split(), sign
    parts = cell.split(sign) if sign else [cell]
    return [part.strip() for part in parts if part.strip()], sign


def is_vector(labels: Sequence[str]) -> bool:
    """Tell whether labels are a vector of 0 and 1: names would not repeat."""
    return len(set(labels)) < len(labels) and set(labels) <= {"0", "1"}
