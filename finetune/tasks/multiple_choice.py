"""Choose the option that goes with a text.

    loss = −log softmax(s)[right],    sᵢ = the score of the pair (text, optionᵢ)

The softmax is over the options of one example; examples may differ in their number
(Devlin et al. 2018, arXiv:1810.04805, §4.4). The model is, in weights and loss, the
`BertForMultipleChoice` of `transformers`, or that of its family.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import ChoiceScorer, ops
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Prediction, known
from plainformer.finetune.losses.divergence import kl_divergence
from plainformer.finetune.losses.mixture import mixture
from plainformer.finetune.metrics import ChoiceMetric
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import PoolingOptions, TaskOptions
from plainformer.finetune.tasks.texts import TextExample, read_texts
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class ChoiceExample(TextExample):
    """A text, the options, and the number of the right one, from 0."""

    options: tuple[str, ...]
    right: int | None

    @property
    def preview(self) -> str:
        """Return the text and the options."""
        return f"{super().preview} ({' | '.join(self.options)})"

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text and the options."""
        return (self.text, *self.options)

    def with_texts(self, texts: Sequence[str]) -> "ChoiceExample":
        """Return the example with another text, and other options unless two of them are equal."""
        text, *others = texts
        options = tuple(others) if len(set(others)) == len(set(self.options)) else self.options
        return replace(self, text=text, options=options)


@dataclass(frozen=True)
class ChoicePrediction(Prediction):
    """The most probable option, its number from 0, and the probability of each, in their order."""

    option: str
    number: int
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """Return the probability of the option."""
        return self.probabilities[self.number]


@dataclass(frozen=True, kw_only=True)
class Choice(Item):
    """An encoded example: one sequence for each option."""

    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceOptions(PoolingOptions):
    """Choose the option that goes with a text."""

    name: Literal["multiple-choice"] = "multiple-choice"


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Task[ChoiceExample, Choice, ChoicePrediction]):
    """Choose one of the options of a text."""

    Options: ClassVar[type[TaskOptions]] = MultipleChoiceOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "options", "label")
    has_sets: ClassVar = True

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ChoiceExample]) -> "MultipleChoice":
        """Make the task: options are texts, so there are no labels to collect."""
        return cls(max_length=config.max_length)

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ChoiceExample:
        """Read a row with `text`, a list `options`, and `label`: the right one's number or text.

        Numbers start from 0. A string is the text of an option, or, if no option has it, a number.
        """
        texts, options, right = read_texts(row, labelled), read_options(row), None
        if labelled:
            (label,) = row.require("label")
            right = number_of(label, options, row.source)
        return ChoiceExample(**texts, options=options, right=right)

    def build(self, config: "FinetuneConfig") -> ChoiceScorer:
        """Load the encoder with the scorer that the folder has, or with a new one."""
        return ChoiceScorer.from_pretrained(config.model, new_head=True, **config.text_settings)

    def load(self, folder: Path) -> ChoiceScorer:
        """Load the scorer in `folder`."""
        return ChoiceScorer.from_pretrained(folder, add=add_tensors)

    def encode(self, example: ChoiceExample, tokenizer: Tokenizer) -> Choice:
        """Encode a pair for each option; the longer of text and option is cut."""
        encodings = tuple(
            tokenizer.encode(example.text, option, max_length=self.max_length)
            for option in example.options
        )
        right = () if example.right is None else (np.array([example.right]),) * len(encodings)
        return Choice(encodings, right, options=example.options)

    def outputs(
        self, model: PretrainedModel, batch: Batch[Choice]
    ) -> Float[Tensor, "items options"]:
        """Compute a row of scores for each example, one per option, padded by the lowest number."""
        return by_item(self.calibrated(super().outputs(model, batch).float()), batch)

    def scaled(
        self, outputs: Float[Tensor, "rows options"], temperature: float
    ) -> Float[Tensor, "rows options"]:
        """Divide the scores by a temperature."""
        return outputs / temperature

    def loss(self, outputs: Float[Tensor, "items options"], batch: Batch[Choice]) -> Loss:
        """Compute the cross-entropy of the right options, and how many win ("accuracy")."""
        right = batch.first(batch.targets)
        correct = (outputs.detach().argmax(-1) == right).sum()
        return Loss(ops.cross_entropy(outputs, right), len(right), {"accuracy": correct})

    def divergence(
        self,
        outputs: Float[Tensor, "items options"],
        others: Float[Tensor, "items options"],
        batch: Batch[Choice],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute KL(others ‖ outputs) over each example's options."""
        return Loss(kl_divergence(outputs, others, temperature), len(outputs))

    def average(
        self, outputs: Sequence[Float[Tensor, "items options"]], temperature: float = 1.0
    ) -> Float[Tensor, "items options"]:
        """Compute the scores of the mean probabilities; padding keeps the lowest number."""
        return mixture(outputs, temperature).clamp(min=torch.finfo(outputs[0].dtype).min)

    def predict(
        self, outputs: Float[Tensor, "items options"], batch: Batch[Choice]
    ) -> list[ChoicePrediction]:
        """Predict by the softmax over each example's options."""
        rows = outputs.detach().softmax(-1).cpu().numpy()
        return [
            self._prediction(item.options, row[: len(item.options)])
            for item, row in zip(batch.items, rows, strict=True)
        ]

    def _prediction(
        self, options: tuple[str, ...], row: Float[np.ndarray, " options"]
    ) -> ChoicePrediction:
        """Choose the first of the most probable options."""
        number = int(row.argmax())
        found = ChoicePrediction(options[number], number, tuple(row.tolist()))
        if self.calibration.set_threshold is not None:
            found = replace(found, set=self.calibration.set_of(options, found.probabilities))
        return self.decide(found)

    def pseudo_label(self, example: ChoiceExample, prediction: ChoicePrediction) -> ChoiceExample:
        """Return the example with the predicted option for the right one."""
        return replace(example, right=prediction.number)

    def metric(self) -> ChoiceMetric:
        """Measure accuracy."""
        return ChoiceMetric()

    def add_to(
        self, metric: ChoiceMetric, example: ChoiceExample, prediction: ChoicePrediction
    ) -> None:
        """Add the right and the predicted option."""
        metric.add(
            known(example.right),
            prediction.number,
            prediction.probabilities,
            example.options,
            example.source,
            example.preview,
        )


def by_item(
    outputs: Float[Tensor, "sequences 1"], batch: Batch[Choice]
) -> Float[Tensor, "items options"]:
    """Put the scores of each item's options in a row, padded by the lowest number."""
    table = outputs.new_full((len(batch.counts), max(batch.counts)), torch.finfo(outputs.dtype).min)
    there = (
        torch.arange(table.shape[1], device=table.device) < batch.on_device(batch.counts)[:, None]
    )
    return table.masked_scatter(there, batch.in_order(outputs))


def read_options(row: Row) -> tuple[str, ...]:
    """Read the column `options`: a list of two strings or more."""
    options = row.items("options")
    if not isinstance(options, list):
        raise UserError(
            f"{row.source}: column 'options' is not a list of strings: {options!r:.40}; "
            'in a cell: ["a", "b"]'
        )
    if len(options) < 2:
        raise UserError(f"{row.source}: {len(options)} options leave nothing to choose")
    for number, option in enumerate(options):
        if not isinstance(option, str) or not option.strip():
            raise UserError(f"{row.source}: option {number} is not a text: {option!r:.40}")
    return tuple(options)


def number_of(label: Any, options: Sequence[str], source: str) -> int:
    """Return the number of the option that `label` names, by its text or by its number."""
    if isinstance(label, str) and options.count(label) > 1:
        raise UserError(f"{source}: {options.count(label)} options read {label!r:.40}: number it")
    if isinstance(label, str) and label in options:
        return options.index(label)
    numbers = [*map(str, range(len(options)))]
    if isinstance(label, bool) or str(label) not in numbers:
        raise UserError(
            f"{source}: the label {label!r:.40} is neither an option nor a number from 0 to "
            f"{len(options) - 1}"
        )
    return numbers.index(str(label))
