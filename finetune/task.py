"""What a task is: a data shape, a head and a metric.

    rows → read → Example → encode → Item → Batch → outputs → loss
                                                       └────→ predict → Prediction → metric

`run`, `evaluate` and `predict` know a task by this alone; each file of `tasks/` is one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeVar,
    runtime_checkable,
)

import torch
from torch import Tensor

from plainformer.base import UserError, at_least, check_bounds
from plainformer.corpora import Columns, File, Row, read_columns, read_rows
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch, Item
from plainformer.finetune.metrics import Metric
from plainformer.finetune.task_options import TaskOptions
from plainformer.tokenizer import Encoding, Tokenizer, as_list, load_tokenizer, text_and_pair
from plainformer.tokenizer.encoding import windows
from plainformer.tokenizer.inputs import LONGEST_TEXT, check_text
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

AS_NAMED = Columns()
"""The map of columns that are named like their fields."""
OVERLAP = 4
"""two windows share one part in so many of their length"""


@runtime_checkable
class Example(Protocol):
    """What was read from a row: at least where it stands, for messages."""

    @property
    def place(self) -> str:
        """File and line."""


@runtime_checkable
class Prediction(Protocol):
    """What a model says of an example."""

    def to_json(self) -> dict[str, Any]:
        """All of it, for a line of JSON."""


ExampleT = TypeVar("ExampleT", bound=Example)
PredictionT = TypeVar("PredictionT", bound=Prediction)


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[ExampleT, PredictionT]):
    """One thing to learn. Its fields are kept in `task.json`, beside the model."""

    max_length: int
    """tokens of the longest sequence"""
    overflow: Literal["truncate", "windows"] = "truncate"
    """Whether a longer text is truncated or read in overlapping windows."""
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
        labels = getattr(self, "labels", None)
        if labels is None:
            return
        if not labels:
            raise UserError("labels must be at least one")
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise UserError(f"labels must be different, and {twice} stands there twice")
        for name in ("weights", "thresholds", "words", "word_ids"):
            of_each = getattr(self, name, ())
            if of_each and len(of_each) != len(labels):
                raise UserError(
                    f"{name} must be one for each of the {len(labels)} labels, not {len(of_each)}"
                )
        for name in ("positive", "negative"):
            if getattr(self, name, None) not in (None, *labels):
                raise UserError(f"{name} must be one of the labels, not {getattr(self, name)}")

    @classmethod
    @abstractmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[ExampleT]
    ) -> "Task[ExampleT, PredictionT]":
        """The task that these training examples pose; `UserError` when they pose none."""

    @classmethod
    def foreign(cls, labels: tuple[str, ...], max_length: int) -> "Task[ExampleT, PredictionT]":
        """The task of a model that was fine-tuned elsewhere, of which no more is known than this.

        A task without `labels` among its fields has no use for them.
        """
        known: dict[str, Any] = {"labels": labels, "max_length": max_length}
        return cls(**{f.name: known[f.name] for f in fields(cls) if f.name in known})

    @classmethod
    def naming(cls, told: Sequence[str], remembered: Sequence[str] = ()) -> Columns:
        """Return the map of columns: the one given now, else that of training.

        Raises `UserError` for anything but NAME=COLUMN with a name of `COLUMNS`.
        """
        now = read_columns(told, cls.COLUMNS)
        return Columns(read_columns(remembered, cls.COLUMNS) | now, frozenset(now))

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """The rows of a file; a task with a format of its own reads it here."""
        return columns.of(read_rows(path))

    @classmethod
    @abstractmethod
    def read(cls, row: Row, labelled: bool = True) -> ExampleT:
        """The example of a row; `UserError` by file and line for one that is none.

        Without `labelled` what is to be predicted may be missing, and is not looked at.
        """

    @classmethod
    def shown(cls, example: ExampleT) -> str:
        """The example as a person reads it, by which it is known again: its `shown`, if it has one.

        By default its place, which no other example has.
        """
        return str(getattr(example, "shown", example.place))

    @classmethod
    def label_of(cls, example: ExampleT) -> str | None:
        """The one label of an example, by which few of each are drawn; None where it has none."""
        return None

    @classmethod
    def stratum(cls, example: ExampleT) -> Any:
        """Return the sortable value by which held-out examples are stratified: the label."""
        return cls.label_of(example) or ""

    @classmethod
    def together(cls, example: ExampleT) -> str:
        """Return a key of examples that must be on one side of a split: by default the text."""
        return cls.shown(example)

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[ExampleT]) -> list[str]:
        """List warnings and facts about the training examples, one line each."""
        return []

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Load the tokenizer with which the model of `folder` is trained for this task."""
        return load_tokenizer(folder)

    @abstractmethod
    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """The pretrained model under a new head."""

    def start(self, model: PretrainedModel) -> None:
        """Set what a new head had better not draw at random; by default nothing."""

    @abstractmethod
    def load(self, folder: Path) -> PretrainedModel:
        """The model that was fine-tuned for this task."""

    @abstractmethod
    def encode(self, example: ExampleT, tokenizer: Tokenizer) -> Item:
        """What the model reads of an example, and its targets where it is labelled.

        Raises `UserError` by file and line for a label that the task does not know.
        """

    def outputs(self, model: PretrainedModel, batch: Batch) -> Any:
        """Compute the outputs for a batch; without gradients, long texts are computed in parts.

        So memory does not grow with the length of a text.
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
    def loss(self, outputs: Any, batch: Batch) -> Loss:
        """What is to become small: summed over what is counted."""

    @abstractmethod
    def predict(self, outputs: Any, batch: Batch) -> list[PredictionT]:
        """What the outputs say of each item, in order."""

    def tune(
        self, results: Sequence[tuple[ExampleT, PredictionT]]
    ) -> "Task[ExampleT, PredictionT]":
        """The task with thresholds that suit the validation examples; by default as it is."""
        return self

    def decide(self, prediction: PredictionT) -> PredictionT:
        """The prediction as this task's thresholds have it; by default as it is."""
        return prediction

    @abstractmethod
    def metric(self) -> Metric[ExampleT, PredictionT]:
        """An empty account of how good predictions are."""

    @property
    def monitor(self) -> str:
        """The score that decides which weights are the best: the metric's first."""
        return next(iter(self.metric().scores()))

    def encodings(self, tokenizer: Tokenizer, text: str, pair: str | None) -> tuple[Encoding, ...]:
        """Encode a text, or a text and its pair, as one sequence or as windows.

        Of a pair, the second text is split into windows, each after the whole first text; the first
        is cut where it would leave less than half of the tokens to the second.
        """
        if self.overflow == "truncate":
            return (tokenizer.encode(text, pair, max_length=self.max_length),)
        stride = self.max_length // OVERLAP
        if pair is None:
            return tuple(tokenizer.windows(text, max_length=self.max_length, stride=stride))
        first, second = tokenizer.tokens(text), tokenizer.tokens(pair)
        room = tokenizer.template.room(self.max_length, is_pair=True)
        assert room is not None
        kept = first[: max(room // 2, room - len(second))]
        size, lost = max(room - len(kept), 1), len(first) - len(kept)  # 0 of an empty pair
        cuts = windows(len(second), size, min(stride, size - 1))
        return tuple(tokenizer.template.encode(kept, second[cut], lost) for cut in cuts)


Input = str | tuple[str, str] | list[str] | Mapping[str, Any]
"""The input of a prediction: a text, a text and its pair, or the fields of a row."""


def bounded(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the same rows; raise `UserError` with file and line for a text that is too long."""
    for row in rows:
        for name, value in row.fields.items():
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                check_text(value, f"{row.source}: column {name!r}")
        yield row


def as_rows(inputs: Iterable[Input]) -> Iterator[Row]:
    """Convert inputs to rows, which are numbered for error messages.

    Raises `UserError` for anything but a list, and, when it is reached, for an item that is neither
    a text, a pair of texts nor the fields of a row.
    """
    return (_row(number, given) for number, given in enumerate(as_list(inputs, "inputs"), start=1))


def _row(number: int, given: Input) -> Row:
    if isinstance(given, Mapping):
        return Row(dict(given), Path("input"), number)
    text, pair = text_and_pair(given, f"input {number}")
    fields = {"text": text} if pair is None else {"text": text, "pair": pair}
    return Row(fields, Path("input"), number)
