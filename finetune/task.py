"""Define a task: a data shape, a head and a metric.

    row → read → Example → encode → Item → Batch → outputs → loss, divergence
                                                      └────→ predict → Prediction → metric

Training, evaluation and prediction use a task by this class alone; each file of `tasks/` has one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor

from plainformer.base import UserError, at_least, check_bounds
from plainformer.corpora import Columns, File, Row, read_columns, read_rows
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.calibration import Calibrated
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch, ItemT
from plainformer.finetune.data.example import ExampleT, Prediction
from plainformer.finetune.metrics import Metric
from plainformer.finetune.task_options import TaskOptions
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

AS_NAMED = Columns()
"""The map of columns that are named like their fields."""

PredictionT = TypeVar("PredictionT", bound=Prediction)


@dataclass(frozen=True, kw_only=True)
class Task(Calibrated, ABC, Generic[ExampleT, ItemT, PredictionT]):
    """A task: its data, its head, its loss and its metric.

    Its fields are saved in `task.json`, beside the model, except those with `compare=False`, which
    only training needs.
    """

    max_length: int
    """Tokens of the longest sequence."""
    overflow: Literal["truncate", "windows"] = "truncate"
    """The treatment of longer texts: truncated, or read in overlapping windows."""
    columns: tuple[str, ...] = ()
    """The map of field names in `COLUMNS` to columns of the user's files: "text=review"."""

    Options: ClassVar[type[TaskOptions]]
    """The options of fine-tuning for this task."""
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "label")
    """The fields of a row."""

    def __post_init__(self) -> None:
        """Check the values: `task.json` may be damaged or from another program."""
        check_bounds(self, max_length=at_least(3))
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            for number in numbers:
                if isinstance(number, float) and not math.isfinite(number):
                    raise UserError(f"{field.name} must be a finite number, not {number}")
        self.check_calibration()

    # Data: rows → examples → the task

    @classmethod
    def naming(cls, columns: Sequence[str], remembered: Sequence[str] = ()) -> Columns:
        """Return the map of columns: the one given now, else that of training.

        Raises `UserError` for anything but NAME=COLUMN with a name of `COLUMNS`.
        """
        now = read_columns(columns, cls.COLUMNS)
        return Columns(read_columns(remembered, cls.COLUMNS) | now, frozenset(now))

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """Yield the rows of a file; a task with a file format of its own reads it here."""
        return columns.of(read_rows(path))

    @classmethod
    @abstractmethod
    def read(cls, row: Row, labelled: bool = True) -> ExampleT:
        """Read an example from a row; without `labelled`, labels may be missing and are not read.

        Raises `UserError` by file and line for a row that is no example.
        """

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[ExampleT]
    ) -> "Task[ExampleT, ItemT, PredictionT]":
        """Define the task by its training examples, for example by the labels that occur.

        Raises `UserError` where there is nothing to learn.
        """
        return cls(max_length=config.max_length)

    @classmethod
    def foreign(
        cls, labels: tuple[str, ...], max_length: int
    ) -> "Task[ExampleT, ItemT, PredictionT]":
        """Define the task of a model that was fine-tuned elsewhere by its labels, if it has any."""
        values: dict[str, Any] = {"labels": labels, "max_length": max_length}
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[ExampleT]) -> list[str]:
        """List warnings and facts about the training examples, one line each."""
        return []

    # Model

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Load the tokenizer with which the model of `folder` is trained for this task."""
        return load_tokenizer(folder)

    @abstractmethod
    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """Build the pretrained model under a new head."""

    def start(self, model: PretrainedModel) -> None:
        """Set the parameters of a new head that should not start at random; by default none."""

    @abstractmethod
    def load(self, folder: Path) -> PretrainedModel:
        """Load the model that was fine-tuned for this task."""

    # Examples → loss

    @abstractmethod
    def encode(self, example: ExampleT, tokenizer: Tokenizer) -> ItemT:
        """Encode an example as the model's input, with targets where it is labelled.

        Raises `UserError` by file and line for a label that the task does not know.
        """

    def outputs(self, model: PretrainedModel, batch: Batch[ItemT]) -> Any:
        """Compute the model's outputs for a batch.

        Without gradients a long batch is computed in parts: memory does not grow with its length.
        """
        if torch.is_grad_enabled() or batch.num_tokens <= BATCH_TOKENS:
            return model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
        found = [
            model(ids, None, type_ids, sequences) for ids, type_ids, sequences in batch.parts()
        ]
        if isinstance(found[0], Tensor):
            return torch.cat(found)
        return tuple(map(torch.cat, zip(*found, strict=True))) if len(found) > 1 else found[0]

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch[ItemT]) -> Loss:
        """Compute the loss of labelled items, as a sum with its count."""

    @abstractmethod
    def divergence(
        self, outputs: Any, others: Any, batch: Batch[ItemT], temperature: float = 1.0
    ) -> Loss:
        """Compute how far `outputs` are from `others`, of the same batch, without its labels.

        It has the scale and the count of `loss`: KL(others ‖ outputs) where the task predicts
        probabilities, and the squared distance elsewhere; both divide logits and outputs by
        `temperature`. Soft targets are `others` without gradients; a symmetric form adds both ways.
        """

    def average(self, outputs: Sequence[Any], temperature: float = 1.0) -> Any:
        """Compute the outputs of an ensemble from those of its models for one batch.

        Divided by `temperature`, they predict the mean of the probabilities that the models
        predict, divided so; where a task predicts none, they are the mean of the outputs.
        """
        return torch.stack(tuple(outputs)).mean(0)

    def item_counts(self, batch: Batch[ItemT]) -> Sequence[int]:
        """Return what each item of a batch adds to the count of `loss`: by default 1."""
        return (1,) * len(batch.items)

    def select(
        self, outputs: Any, batch: Batch[ItemT], places: Sequence[int]
    ) -> tuple[Any, Batch[ItemT]]:
        """Select the outputs of some of the items, and their batch, so that `loss` is theirs alone.

        By default the outputs are a tensor with a row for each item. `places` are in order.
        """
        return outputs[list(places)], batch.select(places)

    # Outputs → predictions → scores

    @abstractmethod
    def predict(self, outputs: Any, batch: Batch[ItemT]) -> list[PredictionT]:
        """Predict each item of a batch, in order."""

    def decide(self, prediction: PredictionT) -> PredictionT:
        """Apply the thresholds of this task to a prediction; by default that of abstaining."""
        least = self.calibration.least_confidence
        if least is None:
            return prediction
        return replace(prediction, abstained=prediction.confidence < least)

    def tune(
        self, results: Sequence[tuple[ExampleT, PredictionT]]
    ) -> "Task[ExampleT, ItemT, PredictionT]":
        """Return the task with the thresholds that score best on validation examples."""
        return self

    @property
    def predicts_labels(self) -> bool:
        """Tell whether predictions are labels to learn from: those of `pseudo_label`."""
        return type(self).pseudo_label is not Task.pseudo_label

    def pseudo_label(self, example: ExampleT, prediction: PredictionT) -> ExampleT:
        """Return the example with its prediction for a label."""
        raise UserError(f"{type(self).__name__} predicts no label to learn from")

    @abstractmethod
    def metric(self) -> Metric:
        """Return an empty metric of this task."""

    @abstractmethod
    def add_to(self, metric: Any, example: ExampleT, prediction: PredictionT) -> None:
        """Add a labelled example and its prediction to a `metric` of this task."""

    @property
    def monitor(self) -> str:
        """Name the score by which the best checkpoint is chosen: the metric's first."""
        return next(iter(self.metric().scores()))


AnyTask = Task[Any, Any, Any]


def check_labels(labels: tuple[str, ...], **of_each: Sequence[Any]) -> None:
    """Raise `UserError` for missing or repeated labels, or a field without one value per label."""
    if not labels:
        raise UserError("labels must be at least one")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise UserError(f"labels must be different, and {twice} stands there twice")
    for name, values in of_each.items():
        if values and len(values) != len(labels):
            raise UserError(
                f"{name} must be one for each of the {len(labels)} labels, not {len(values)}"
            )


def check_label(name: str, label: str | None, labels: tuple[str, ...]) -> None:
    """Raise `UserError` for a `label` that is not among `labels`."""
    if label not in (None, *labels):
        raise UserError(f"{name} must be one of the labels, not {label}")
