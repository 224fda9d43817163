"""Measure a model on changed examples, beside the same examples unchanged.

The changes are a function of the seed, the kind and the number of the example: two models see the
same ones, but for `hotflip`, which follows the gradient of each.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from plainformer.base.progress import counting
from plainformer.explain.results import Results, Rows, results_of
from plainformer.explain.stress.answers import is_flipped
from plainformer.explain.stress.changes import KINDS, change_of
from plainformer.explain.stress.choose import Change
from plainformer.explain.stress.hotflip import HotFlip
from plainformer.finetune.augment.copies import generator_of
from plainformer.finetune.prediction.predictor import Predictor, Progress


@dataclass(frozen=True)
class Settings:
    """The kinds of change, and their strength."""

    kinds: tuple[str, ...]
    strength: float = 0.2
    """The share of the words that are changed."""
    seed: int = 0
    paraphrases: Path | None = None


@dataclass(frozen=True)
class Answers:
    """The predictions of a model for some examples."""

    predictor: Predictor
    examples: Sequence[Any]
    predictions: Sequence[Any]

    @property
    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Return each example with its prediction."""
        return zip(self.examples, self.predictions, strict=True)

    @cached_property
    def results(self) -> Results:
        """Return what is needed of each example to score any selection of them."""
        found = results_of(self.predictor.task)
        for pair in self.pairs:
            found.add(*pair)
        found.finish()
        return found

    def score(self, rows: Rows) -> float:
        """Compute the first score of the task's metric for some rows."""
        return float(self.results.values(rows)[0][0])


@dataclass(frozen=True)
class Comparison:
    """The answers of a model to the examples, and to those of one kind of change."""

    before: Answers
    after: Answers

    @cached_property
    def changed(self) -> Float[np.ndarray, " examples"]:
        """Return the share of the words of each example that were changed, added or left out."""
        pairs = zip(self.before.examples, self.after.examples, strict=True)
        return np.array([share_changed(*pair) for pair in pairs])

    @cached_property
    def flipped(self) -> Float[np.ndarray, " examples"]:
        """Return 1 for each example whose answer is another, else 0; NaN for numbers."""
        pairs = zip(self.before.pairs, self.after.pairs, strict=True)
        found = [is_flipped(self.before.predictor.task, *pair) for pair in pairs]
        return np.array([np.nan if flip is None else flip for flip in found], np.float64)


@dataclass(frozen=True)
class Measured:
    """A kind of change, applied to all examples, for each model."""

    kind: str
    models: tuple[Comparison, ...]


def measure(
    predictors: Sequence[Predictor],
    examples: Sequence[Any],
    settings: Settings,
    quiet: bool = False,
) -> list[Measured]:
    """Measure a model, or two beside each other, under each kind of change.

    Raises `UserError` for a bad list of paraphrases, or a model that has no gradients to follow.
    """
    changes = [
        {kind: change_of(kind, predictor, settings.paraphrases) for kind in settings.kinds}
        for predictor in predictors
    ]
    steps = 1 + sum(1 + isinstance(change, HotFlip) for change in changes[0].values())
    total = steps * len(examples) * len(predictors)
    with counting("stress", total, quiet=quiet) as advance:
        before = [answers(predictor, examples, advance) for predictor in predictors]
        return [
            Measured(
                kind,
                tuple(
                    Comparison(one, changed_answers(one, kind, own[kind], settings, advance))
                    for one, own in zip(before, changes, strict=True)
                ),
            )
            for kind in settings.kinds
        ]


def answers(predictor: Predictor, examples: Sequence[Any], advance: Progress) -> Answers:
    """Predict all examples."""
    found = predictor.predict_examples(examples, advance)
    return Answers(predictor, examples, [prediction for *_, prediction in found])


def changed_answers(
    before: Answers, kind: str, change: Change, settings: Settings, advance: Progress
) -> Answers:
    """Change all examples, and predict those that became others."""
    examples = []
    for number, example in enumerate(before.examples):
        generator = generator_of(settings.seed, KINDS.index(kind), number)
        changed = change(example, settings.strength, generator)
        examples.append(example if _texts(changed) == _texts(example) else changed)
        if isinstance(change, HotFlip):
            advance(1)
    others = [n for n, e in enumerate(examples) if e is not before.examples[n]]
    advance(len(examples) - len(others))
    found = before.predictor.predict_examples([examples[n] for n in others], advance)
    predictions = [*before.predictions]
    for number, (*_, prediction) in zip(others, found, strict=True):
        predictions[number] = prediction
    return Answers(before.predictor, examples, predictions)


def share_changed(before: Any, after: Any) -> float:
    """Compute the number of words changed or added or left out, as a share of those before."""
    old, new = (Counter(_texts(example)) for example in (before, after))
    return max((old - new).total(), (new - old).total()) / max(old.total(), 1)


def _texts(example: Any) -> list[tuple[int, str]]:
    return [(word.part, word.text) for word in example.to_words()]
