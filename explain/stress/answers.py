"""Compare what a model answers to an example and to a changed one."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from plainformer.base.words import words_of
from plainformer.explain.fairness.answers import answer_of
from plainformer.finetune.metrics.spans import normalised
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.question_answering import AnswerPrediction
from plainformer.finetune.tasks.tagging.sentences import Tags

Answered = tuple[Any, Any]
"""An example and its prediction."""


def is_flipped(task: AnyTask, before: Answered, after: Answered) -> bool | None:
    """Tell whether the second prediction gives another answer; None for a number, which has none.

    Of tags, those of the words that both sentences have are compared. Spans are the same where they
    have the same words, or where those of their words that both contexts have are the same, however
    they are spelled.
    """
    (example, one), (changed, other) = before, after
    if isinstance(one, Tags):
        return _are_others(one.words, one.tags, other.words, other.tags)
    if isinstance(one, AnswerPrediction):
        if normalised(one.answer) == normalised(other.answer):
            return False
        if one.abstains or other.abstains:
            return True
        return _are_others(*_in_span(example.context, one), *_in_span(changed.context, other))
    key, new = (answer_of(task, prediction).key for prediction in (one, other))
    return None if key is None else key != new


def _in_span(context: str, prediction: AnswerPrediction) -> tuple[list[str], list[bool]]:
    """Return the words of a context, and which are in the answer, but for signs and articles."""
    best, found = prediction.spans[0], words_of(context)
    words = [context[a:b] for a, b in found]
    inside = [a < best.end and best.start < b for a, b in found]
    pairs = zip(words, inside, strict=True)
    return words, [there and normalised(word) != "" for word, there in pairs]


def _are_others(
    words: Sequence[str], marks: Sequence[Any], others: Sequence[str], new: Sequence[Any]
) -> bool:
    """Compare marks word by word; words that were dropped or added do not count."""
    pairs = SequenceMatcher(None, words, others, autojunk=False).get_opcodes()
    return any(marks[a:b] != new[c:d] for _, a, b, c, d in pairs if b - a == d - c)
