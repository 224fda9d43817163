"""Predict a number for a text, or for a pair of texts: a rating, a similarity.

    loss = (output − score)²        prediction = the output

Scores are learned on their own scale. A new head starts with their mean for its bias, and its
weights are multiplied by their standard deviation: it learns as if they were standardised.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Prediction, known
from plainformer.finetune.data.remarks import of_texts
from plainformer.finetune.metrics import NumberMetric
from plainformer.finetune.task_options import TaskOptions, TextOptions
from plainformer.finetune.tasks.sequence import SequenceTask
from plainformer.finetune.tasks.texts import TextExample, read_texts
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

LARGEST = 1e15
"""The largest score: the sum of the squared errors of larger ones leaves the range of float32."""


@dataclass(frozen=True, kw_only=True)
class ScoreExample(TextExample):
    """A text with its score."""

    score: float | None

    @property
    def stratum(self) -> float:
        """Return the score."""
        return self.score or 0.0


@dataclass(frozen=True)
class ScorePrediction(Prediction):
    """The predicted score of a text."""

    score: float
    interval: tuple[float, float] | None = None
    """The interval of the true score; None where the model was not calibrated for intervals."""


@dataclass(frozen=True, kw_only=True)
class RegressionOptions(TextOptions):
    """Predict a number for a text, or for a pair of texts."""

    name: Literal["regression"] = "regression"


@dataclass(frozen=True, kw_only=True)
class Regression(SequenceTask[ScoreExample, ScorePrediction]):
    """Predict a score, by its squared error."""

    Options: ClassVar[type[TaskOptions]] = RegressionOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "score")
    problem_type: ClassVar = "regression"
    has_sets: ClassVar = True

    mean: float = field(default=0.0, compare=False)
    """Mean of the training scores."""
    deviation: float = field(default=1.0, compare=False)
    """Standard deviation of the training scores."""

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ScoreExample]) -> "Regression":
        """Compute mean and deviation of the scores; raise `UserError` if all are equal."""
        options = config.task
        assert isinstance(options, TextOptions)
        scores = np.array([example.score for example in examples], np.float64)
        if np.ptp(scores) == 0:
            raise UserError(
                f"{examples[0].file}: every example has the score {scores[0]}: nothing to learn"
            )
        return cls(
            mean=float(scores.mean()),
            deviation=float(scores.std()),
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> ScoreExample:
        """Read a row with `text`, `score`, a finite number, and an optional `pair`."""
        texts = read_texts(row, labelled)
        return ScoreExample(**texts, score=read_score(row) if labelled else None)

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[ScoreExample]) -> list[str]:
        """List likely faults in the texts."""
        return of_texts(examples)

    def start(self, model: PretrainedModel) -> None:
        """Set the bias to the mean of the scores, and scale the weights by their deviation."""
        assert isinstance(model, SequenceClassifier)
        with torch.no_grad():
            model.classifier.weight.mul_(self.deviation)
            model.classifier.bias.fill_(self.mean)

    def target(self, example: ScoreExample) -> Float32[np.ndarray, " 1"] | None:
        """Return the score."""
        return None if example.score is None else np.array([example.score], np.float32)

    def loss(self, outputs: Float[Tensor, "items 1"], batch: Batch[Item]) -> Loss:
        """Compute the squared error."""
        errors = outputs.squeeze(-1) - batch.first(batch.targets)
        return Loss(errors.square().sum(), len(errors))

    def divergence(
        self,
        outputs: Float[Tensor, "items 1"],
        others: Float[Tensor, "items 1"],
        batch: Batch[Item],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute the squared difference."""
        apart = (outputs - others) / temperature
        return Loss(apart.square().sum(), len(outputs))

    def predict(
        self, outputs: Float[Tensor, "items 1"], batch: Batch[Item]
    ) -> list[ScorePrediction]:
        """Return the output as the score, with its interval."""
        scores = outputs.detach().squeeze(-1).tolist()
        return [ScorePrediction(score, self._interval(score)) for score in scores]

    def _interval(self, score: float) -> tuple[float, float] | None:
        q = self.calibration.set_threshold
        return None if q is None else (score - q, score + q)

    def pseudo_label(self, example: ScoreExample, prediction: ScorePrediction) -> ScoreExample:
        """Return the example with the predicted score."""
        return replace(example, score=prediction.score)

    def metric(self) -> NumberMetric:
        """Measure correlations and errors."""
        return NumberMetric()

    def add_to(
        self, metric: NumberMetric, example: ScoreExample, prediction: ScorePrediction
    ) -> None:
        """Add the true and the predicted score."""
        metric.add(known(example.score), prediction.score, example.source, example.preview)


def read_score(row: Row) -> float:
    """Read the column `score`; raise `UserError` for anything but a finite number."""
    given = row.string("score")
    try:
        score = math.nan if "_" in given else float(given)  # Python reads 1_000, no table does
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        found = f"{row.fields['score']!r:.40}"
        comma = "; write a point: 3.5" if re.fullmatch(r"'-?\d+,\d+'", found) else ""
        raise UserError(f"{row.source}: the score is no finite number: {found}{comma}")
    if abs(score) > LARGEST:
        raise UserError(f"{row.source}: the score {score:g} is too large: scale them all")
    return score
