"""Choose the option that goes with a text.

    loss = −log softmax(s)[right],    sᵢ = the score of the pair (text, optionᵢ)

The softmax is over the options of one example, of which the next may have more or fewer
(Devlin et al. 2018, arXiv:1810.04805, §4.4). The model is, in weights and loss, the
`BertForMultipleChoice` of `transformers`, or that of its family.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import ChoiceScorer, ops
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.metrics import ChoiceMetric
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import PoolingOptions, TaskOptions
from plainformer.finetune.tasks.texts import Text, TextExample
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True)
class ChoiceExample(TextExample):
    """A text, the options, and the number of the right one, from 0; None where it is not known."""

    options: tuple[str, ...]
    right: int | None

    @property
    def shown(self) -> str:
        """The text, and between what the choice is."""
        return f"{self.text.shown} ({' | '.join(self.options)})"


@dataclass(frozen=True)
class ChoicePrediction:
    """The most probable option, its number from 0, and the probability of each, in their order."""

    option: str
    number: int
    probabilities: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Option, number and probabilities."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Choice(Item):
    """One sequence for each option."""

    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceOptions(PoolingOptions):
    """Choose the option that goes with a text."""

    name: Literal["multiple-choice"] = "multiple-choice"


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Task[ChoiceExample, ChoicePrediction]):
    """Which option?"""

    Options: ClassVar[type[TaskOptions]] = MultipleChoiceOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "options", "label")

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ChoiceExample]) -> "MultipleChoice":
        """Options are read, not known by name: there is nothing to remember."""
        return cls(max_length=config.max_length)

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ChoiceExample:
        """A row has `text`, a list `options`, and `label`: the right one's number or its text.

        A number counts from 0. A string is the text of an option, or, if none reads so, a number.
        """
        text = Text.of(row, labelled)
        options = read_options(row, text.place)
        if not labelled:
            return ChoiceExample(text, options, None)
        (label,) = row.require("label")
        return ChoiceExample(text, options, number_of(label, options, text.place))

    def build(self, config: "FinetuneConfig") -> ChoiceScorer:
        """Load the encoder with the scorer that the folder has, or with a new one."""
        return ChoiceScorer.from_pretrained(config.model, new_head=True, **config.text_settings)

    def load(self, folder: Path) -> ChoiceScorer:
        """Load the scorer in `folder`."""
        return ChoiceScorer.from_pretrained(folder)

    def encode(self, example: ChoiceExample, tokenizer: Tokenizer) -> Choice:
        """A pair for each option; the longer of text and option is cut."""
        encodings = tuple(
            tokenizer.encode(example.text.text, option, max_length=self.max_length)
            for option in example.options
        )
        right = () if example.right is None else (np.array([example.right]),) * len(encodings)
        return Choice(encodings, right, options=example.options)

    def loss(self, outputs: Float[Tensor, "sequences 1"], batch: Batch) -> Loss:
        """The cross-entropy of the right options, and how many come first ("accuracy")."""
        scores, right = by_item(outputs, batch), batch.first(batch.targets)
        correct = (scores.detach().argmax(-1) == right).sum()
        return Loss(ops.cross_entropy(scores, right), len(right), {"accuracy": correct})

    def predict(
        self, outputs: Float[Tensor, "sequences 1"], batch: Batch
    ) -> list[ChoicePrediction]:
        """The softmax over each example's options."""
        rows = by_item(outputs.detach().float(), batch).softmax(-1).cpu().numpy()
        return [
            prediction(item.options, row[: len(item.options)])
            for item, row in zip(batch.items, rows, strict=True)
            if isinstance(item, Choice)
        ]

    def metric(self) -> ChoiceMetric:
        """Accuracy."""
        return ChoiceMetric()


def by_item(outputs: Float[Tensor, "sequences 1"], batch: Batch) -> Float[Tensor, "items options"]:
    """The scores of each item's options in a row; −∞ where it has fewer than another."""
    table = outputs.new_full((len(batch.counts), max(batch.counts)), -torch.inf)
    there = torch.arange(table.shape[1]) < torch.tensor(batch.counts)[:, None]
    return table.masked_scatter(there.to(table.device), batch.in_order(outputs))


def prediction(options: tuple[str, ...], row: Float[np.ndarray, " options"]) -> ChoicePrediction:
    """The first of the most probable options."""
    number = int(row.argmax())
    return ChoicePrediction(options[number], number, tuple(row.tolist()))


def read_options(row: Row, place: str) -> tuple[str, ...]:
    """The column `options`: a list of two strings or more."""
    options = row.items("options")
    if not isinstance(options, list):
        raise UserError(
            f"{place}: column 'options' is not a list of strings: {options!r:.40}; "
            'in a cell: ["a", "b"]'
        )
    if len(options) < 2:
        raise UserError(f"{place}: {len(options)} options leave nothing to choose")
    for number, option in enumerate(options):
        if not isinstance(option, str) or not option.strip():
            raise UserError(f"{place}: option {number} is not a text: {option!r:.40}")
    return tuple(options)


def number_of(label: Any, options: Sequence[str], place: str) -> int:
    """The number of the option that `label` names, by its text or by its number."""
    if isinstance(label, str) and options.count(label) > 1:
        raise UserError(f"{place}: {options.count(label)} options read {label!r:.40}: number it")
    if isinstance(label, str) and label in options:
        return options.index(label)
    number = str(label)
    if isinstance(label, bool) or not number.isdecimal() or int(number) >= len(options):
        raise UserError(
            f"{place}: the label {label!r:.40} is neither an option nor a number from 0 to "
            f"{len(options) - 1}"
        )
    return int(number)
