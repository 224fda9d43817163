"""Regression: what number has a text, or how alike are two?

    loss = (output − score)²

The numbers are learned as they are, and the only output is the answer. A new output begins at the
mean of the training scores, and varies as they do: so it learns on any scale as if they had been
standardised, and nothing is to be undone. The output for a text that is read in windows is the mean
of its windows'.
"""

import math
import re
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
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.remarks import of_texts
from plainformer.finetune.metrics import NumberMetric
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks.texts import Text, TextExample
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

OUTPUT = ("LABEL_0",)
"""what `transformers` calls an only output: a published model's goes on being trained"""

LARGEST = 1e15
"""beyond it the sum of squared errors soon leaves the range of float32"""


@dataclass(frozen=True)
class ScoreExample(TextExample):
    """A text with its number; None where it is not known."""

    score: float | None


@dataclass(frozen=True)
class ScorePrediction:
    """The number that the model gives a text."""

    score: float

    def to_json(self) -> dict[str, Any]:
        """The number."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RegressionOptions(TextOptions):
    """Predict a number for a text, or for a pair of texts."""

    name: Literal["regression"] = "regression"


@dataclass(frozen=True, kw_only=True)
class Regression(Task[ScoreExample, ScorePrediction]):
    """What number?"""

    Options: ClassVar[type[TaskOptions]] = RegressionOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "score")
    mean: float = 0.0
    """of the training scores"""
    deviation: float = 1.0
    """of the training scores from their mean"""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[ScoreExample]
    ) -> Task[ScoreExample, ScorePrediction]:
        """Any numbers, unless they are all the same."""
        options = config.task
        assert isinstance(options, RegressionOptions)
        scores = np.array([example.score for example in examples], np.float64)
        if np.ptp(scores) == 0:
            file = examples[0].place.rpartition(":")[0]
            raise UserError(f"{file}: every example has the score {scores[0]}: nothing to learn")
        return cls(
            mean=float(scores.mean()),
            deviation=float(scores.std()),
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ScoreExample:
        """A row has `text` and `score`, a finite number, and may have `pair`."""
        text = Text.of(row, labelled)
        return ScoreExample(text, read_score(row) if labelled else None)

    @classmethod
    def stratum(cls, example: ScoreExample) -> float:
        """Return the score."""
        return example.score or 0.0

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[ScoreExample]) -> list[str]:
        """List likely faults in the texts."""
        return of_texts(examples)

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """A classifier with one output on the pretrained encoder."""
        return SequenceClassifier.from_pretrained(
            config.model,
            labels=OUTPUT,
            **config.text_settings,
            problem_type="regression",
        )

    def start(self, model: PretrainedModel) -> None:
        """Begin at the scores' mean, and vary as they do."""
        assert isinstance(model, SequenceClassifier)
        with torch.no_grad():
            model.classifier.weight.mul_(self.deviation)
            model.classifier.bias.fill_(self.mean)

    def load(self, folder: Path) -> PretrainedModel:
        """The model in `folder`."""
        return SequenceClassifier.from_pretrained(folder)

    def encode(self, example: ScoreExample, tokenizer: Tokenizer) -> Item:
        """One sequence, or windows of which each has the text's number."""
        text = example.text
        encodings = self.encodings(tokenizer, text.text, text.pair)
        if example.score is None:
            return Item(encodings)
        return Item(encodings, (np.array([example.score], np.float32),) * len(encodings))

    def loss(self, outputs: Float[Tensor, "sequences 1"], batch: Batch) -> Loss:
        """The squared error."""
        errors = batch.mean(outputs).squeeze(-1).float() - batch.first(batch.targets)
        return Loss(errors.square().sum(), len(errors))

    def predict(self, outputs: Float[Tensor, "sequences 1"], batch: Batch) -> list[ScorePrediction]:
        """The output as it is."""
        rows = batch.mean(outputs.detach().float()).squeeze(-1)
        return [ScorePrediction(score) for score in rows.tolist()]

    def metric(self) -> NumberMetric:
        """Correlations and errors."""
        return NumberMetric()


def read_score(row: Row) -> float:
    """The column `score`; `UserError` by file and line where it is none to learn."""
    try:
        score = float(row.string("score"))
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        found = f"{row.fields['score']!r:.40}"
        comma = "; write a point: 3.5" if re.fullmatch(r"'-?\d+,\d+'", found) else ""
        raise UserError(f"{row.source}: the score is no finite number: {found}{comma}")
    if abs(score) > LARGEST:
        raise UserError(f"{row.file}:{row.line}: the score {score:g} is too large: scale them all")
    return score
