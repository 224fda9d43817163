"""Write the answer of any task as what two versions of a text can be compared by.

| task              | the same answer      | counts, by label         | strengths, by label |
|-------------------|----------------------|--------------------------|---------------------|
| one label         | the label            | 1 for the label          | log-odds            |
| several labels    | all labels           | 1 for each of them       | log-odds            |
| options           | the option's number  |                          |                     |
| tags              | all tags             | entities of a type, or   | the same            |
|                   |                      | words of a tag           |                     |
| a span            | its place            | 1 for any answer         |                     |
| a score           |                      | the score                | the score           |
| vectors of a pair |                      | the cosine, or the score | the same            |

Two labels are one decision: the second of them is counted. Of single probabilities of float32,
those within 2⁻²⁴ of 0 or 1 count as that far from it.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plainformer.base import UserError
from plainformer.explain.fairness.swap import Edits, inverse, moved
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import OneLabel
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.task import Tagging

SMALLEST = 2.0**-24
"""The distance of the largest float32 below 1 from 1."""


@dataclass(frozen=True)
class Answer:
    """An answer to one version of a text."""

    shown: str
    key: Hashable
    """Equal for the same answers; None where answers are numbers, which never flip."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Label -> how often it is answered, such as the number of its tags."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """The strength of the answer by label: its log-odds, or the predicted number itself."""
    unit: str = "log-odds"
    """The unit of the strengths: log-odds, score, cosine."""


def answer_of(task: AnyTask, prediction: Any, edits: Edits = (), context: str = "") -> Answer:
    """Return a prediction as an answer; `edits` of the original `context` made its version."""
    if isinstance(task, OneLabel):
        return _label(task, prediction)
    if isinstance(task, MultiLabel):
        strengths = {name: log_odds(p, 1 - p) for name, p in prediction.probabilities.items()}
        counts = dict.fromkeys(prediction.labels, 1.0)
        shown = ", ".join(prediction.labels) or "–"
        return Answer(shown, frozenset(prediction.labels), counts, strengths)
    if isinstance(task, MultipleChoice):
        return Answer(prediction.option, prediction.number)
    if isinstance(task, Tagging):
        return _tags(prediction)
    if isinstance(task, QuestionAnswering):
        return _span(prediction, edits, context)
    if isinstance(task, SentenceEmbedding):
        if len(prediction.vectors) < 2:
            raise UserError("a vector decides nothing: give a text and its pair, whose cosine does")
        if task.scale is None:
            return _number("cosine", prediction.cosine)
    return _number("score", prediction.score)


def log_odds(part: float, rest: float) -> float:
    """Compute log(part / rest) of two probabilities."""
    return math.log(max(part, SMALLEST)) - math.log(max(rest, SMALLEST))


def _label(task: OneLabel[Any], prediction: Any) -> Answer:
    of, names = prediction.probabilities, task.labels
    names = names[1:] if len(names) == 2 else names
    strengths = {
        name: log_odds(of[name], math.fsum(p for other, p in of.items() if other != name))
        for name in names
    }
    counts = {prediction.label: 1.0} if prediction.label in names else {}
    return Answer(prediction.label, prediction.label, counts, strengths)


def _number(name: str, value: float) -> Answer:
    return Answer(f"{value:.4g}", None, {name: value}, {name: value}, name)


def _tags(prediction: Any) -> Answer:
    if prediction.entities is None:
        counts = Counter(tag for tag in prediction.tags if tag)
        shown = " ".join(prediction.tags)
    else:
        counts = Counter(entity.type for entity in prediction.entities)
        shown = ", ".join(f"{e.type}: {e.text}" for e in prediction.entities) or "–"
    return Answer(shown, prediction.tags, dict(counts), dict(counts), "number")


def _span(prediction: Any, edits: Edits, context: str) -> Answer:
    if prediction.abstains or not prediction.spans:
        return Answer("(no answer)", ())
    best = prediction.spans[0]
    place = moved((best.start, best.end), inverse(edits, context))
    return Answer(best.answer, place, {"an answer": 1.0})
