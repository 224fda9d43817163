"""Learn from soft labels: from the scores that a teacher gave to every label of a text.

    loss = T² Σ KL(softmax(s / T) ‖ softmax(outputs / T))

(Hinton et al. 2015, arXiv:1503.02531.) s are the logits of the teacher, up to a constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.tasks.classification import (
    ClassExample,
    Classification,
    ClassPrediction,
)
from plainformer.training import Loss

TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, kw_only=True)
class SoftExample(ClassExample):
    """A text with a score for each label, in their order; its label is the best one."""

    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SoftClassification(Classification):
    """Learn `classification` from soft labels; in all else it is that task."""

    temperature: float = field(default=2.0, compare=False)
    """T: above 1, the probabilities are nearer to each other."""

    def target(self, example: ClassExample) -> Shaped[np.ndarray, "1 ..."] | None:
        """Return the scores of all labels; of a labelled example, the number of its label."""
        if isinstance(example, SoftExample):
            return np.array([example.scores], np.float32)
        return super().target(example)

    def loss(self, outputs: Float[Tensor, "items labels"], batch: Batch[Item]) -> Loss:
        """Compute T² times the divergence; of labelled examples, the loss of the task."""
        scores = batch.first(batch.targets)
        if not scores.is_floating_point():
            return super().loss(outputs, batch)
        loss = self.divergence(outputs, scores, batch, self.temperature)
        correct = (outputs.detach().argmax(-1) == scores.argmax(-1)).sum()
        return Loss(self.temperature**2 * loss.total, loss.items, {"accuracy": correct})


def soft(
    example: ClassExample, labels: Sequence[str], scores: Float[np.ndarray, " labels"]
) -> SoftExample:
    """Return an unlabelled example with a score for each of `labels`."""
    best = labels[int(scores.argmax())]
    return SoftExample(
        text=example.text,
        pair=example.pair,
        source=example.source,
        label=best,
        scores=tuple(scores.tolist()),
    )


def ensemble(
    labels: Sequence[str],
    predictions: Sequence[Sequence[ClassPrediction]],
    weights: Sequence[float],
) -> Float[np.ndarray, "texts labels"]:
    """Average the log-probabilities of several models, by their weights; the same if all are 0.

    `predictions` are those of each model. A mean of log-probabilities is one of logits, but for a
    constant in each row, on which no softmax depends.
    """
    probabilities = np.array(
        [
            [[said.probabilities[label] for label in labels] for said in model]
            for model in predictions
        ]
    )  # (models, texts, labels)
    shares = np.asarray(weights) if any(weights) else np.ones(len(weights))
    logs = np.log(np.maximum(probabilities, TINY))
    mean: Float[np.ndarray, "texts labels"] = np.tensordot(shares / shares.sum(), logs, axes=1)
    return mean
