"""Multi-label classification: which of the labels has a text? Any number of them, or none.

    loss = mean over the labels of −log σ(±logit)      answer = the labels with σ(logit) ≥ threshold

The sign is that of the truth. Each label has a threshold of its own, the one with the best F1 on
the validation examples. The logits of a text that is read in windows are the mean of its windows'.

Where labels are rare a label's own texts may weigh others / own times as much (`balance weights`),
or what is known already hardly count (`focal`): `finetune/losses/class_imbalance.py`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError, did_you_mean
from plainformer.corpora import Row
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.remarks import of_labels, of_texts
from plainformer.finetune.losses.class_imbalance import GAMMA, best_threshold, binary_cross_entropy
from plainformer.finetune.metrics import LabelsMetric
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks.texts import Text, TextExample
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True)
class LabelsExample(TextExample):
    """A text with its labels; None where they are not known."""

    labels: tuple[str, ...] | None
    parted: str = ""
    """The delimiter of the labels in one cell."""


@dataclass(frozen=True)
class LabelsPrediction:
    """The labels of a text, and the probability of each that there is."""

    labels: tuple[str, ...]
    """most probable first"""
    probabilities: dict[str, float]
    """most probable first; they do not add up to 1, as each is of its own question"""

    def to_json(self) -> dict[str, Any]:
        """Labels and probabilities."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions(TextOptions):
    """Decide for each of several labels whether a text has it."""

    name: Literal["multi-label"] = "multi-label"

    balance: Literal["none", "weights", "focal"] = "none"
    """Help for rare labels: weights of a label's own texts in the loss, or the focal loss, to which
    well-learned examples hardly count."""


@dataclass(frozen=True, kw_only=True)
class MultiLabel(Task[LabelsExample, LabelsPrediction]):
    """Which labels?"""

    Options: ClassVar[type[TaskOptions]] = MultiLabelOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "labels")

    labels: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    """from which probability on each label is given; (): from 0.5 on"""
    weights: tuple[float, ...] = ()
    """of each label's own texts in its loss; (): they weigh as much as the others"""
    gamma: float = 0.0
    """of the focal loss; 0: plain cross-entropy"""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[LabelsExample]
    ) -> Task[LabelsExample, LabelsPrediction]:
        """The labels are those that occur, sorted."""
        options = config.task
        assert isinstance(options, MultiLabelOptions)
        counts = Counter(label for example in examples for label in example.labels or ())
        if all(count == len(examples) for count in counts.values()):
            file = examples[0].place.rpartition(":")[0]
            shared = f"the labels {', '.join(sorted(counts))}" if counts else "no label"
            raise UserError(f"{file}: every example has {shared}: there is nothing to learn")
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
        parted by "|", else ";", else ",". An empty list says that no label is true; an empty cell,
        that nothing is known.
        """
        text = Text.of(row, labelled)
        return LabelsExample(text, *(read_labels(row) if labelled else (None,)))

    @classmethod
    def stratum(cls, example: LabelsExample) -> tuple[str, ...]:
        """Return all labels of the example."""
        return tuple(sorted(example.labels or ()))

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[LabelsExample]) -> list[str]:
        """List the labels, likely faults in them, and the delimiter of cells."""
        counts = Counter(label for example in examples for label in example.labels or ())
        found = of_labels(counts, config.task) if counts else []
        for sign in {example.parted for example in examples} - {"", "|"}:
            first = next(example for example in examples if example.parted == sign)
            found.append(
                f"labels are parted at {sign!r} ({first.place}: {' | '.join(first.labels or ())}); "
                'a label that holds one needs a list: ["a, b"]'
            )
        return [*found, *of_texts(examples)]

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """A new classifier on the pretrained encoder."""
        return SequenceClassifier.from_pretrained(
            config.model,
            labels=self.labels,
            **config.text_settings,
            problem_type="multi_label_classification",
        )

    def load(self, folder: Path) -> PretrainedModel:
        """The classifier in `folder`."""
        return SequenceClassifier.from_pretrained(folder)

    def encode(self, example: LabelsExample, tokenizer: Tokenizer) -> Item:
        """One sequence, or windows of which each has the text's labels."""
        text = example.text
        encodings = self.encodings(tokenizer, text.text, text.pair)
        if example.labels is None:
            return Item(encodings)
        unknown = [label for label in example.labels if label not in self.labels]
        if unknown:
            raise UserError(
                f"{example.place}: the label {unknown[0]!r} is not among those the model learns: "
                f"{', '.join(self.labels)}{did_you_mean(unknown[0], self.labels)}"
            )
        truth = np.array([[label in example.labels for label in self.labels]])
        return Item(encodings, (truth.astype(np.float32),) * len(encodings))

    def loss(self, outputs: Float[Tensor, "sequences labels"], batch: Batch) -> Loss:
        """The cross-entropy of each label's truth, as a mean over the labels; summed over texts."""
        logits, truth = batch.mean(outputs), batch.first(batch.targets)
        return Loss(binary_cross_entropy(logits, truth, self.weights, self.gamma), len(truth))

    def predict(
        self, outputs: Float[Tensor, "sequences labels"], batch: Batch
    ) -> list[LabelsPrediction]:
        """The labels whose probability reaches their threshold."""
        rows = batch.mean(outputs.detach().float()).sigmoid().cpu().numpy()
        return [self._prediction(row) for row in rows]

    def _prediction(self, row: Float[np.ndarray, " labels"]) -> LabelsPrediction:
        probabilities = {self.labels[i]: float(row[i]) for i in np.argsort(-row, kind="stable")}
        return self.decide(LabelsPrediction((), probabilities))

    def decide(self, prediction: LabelsPrediction) -> LabelsPrediction:
        """The labels whose probability reaches their threshold."""
        thresholds = self.thresholds or (0.5,) * len(self.labels)
        least = dict(zip(self.labels, thresholds, strict=True))
        given = (label for label, p in prediction.probabilities.items() if p >= least[label])
        return replace(prediction, labels=tuple(given))

    def tune(
        self, results: Sequence[tuple[LabelsExample, LabelsPrediction]]
    ) -> Task[LabelsExample, LabelsPrediction]:
        """The threshold of each label with its best F1."""
        thresholds = []
        for label in self.labels:
            truth = np.array([label in (example.labels or ()) for example, _ in results])
            said = np.array([answer.probabilities[label] for _, answer in results])
            thresholds.append(best_threshold(truth, said))
        return replace(self, thresholds=tuple(thresholds))

    def metric(self) -> LabelsMetric:
        """F1 over all labels and of each, AUC, exact matches."""
        return LabelsMetric(self.labels)


def read_labels(row: Row) -> tuple[tuple[str, ...], str]:
    """Read the column `labels` without duplicates, and the delimiter if it is one cell.

    Raises `UserError` by file and line for what is no list of labels, and for a vector of 0 and 1.
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
    """Tell whether labels are zeros and ones with a repeat, which names are not."""
    return len(set(labels)) < len(labels) and set(labels) <= {"0", "1"}
