"""Compare what a model answers to an example and to a changed one."""

from difflib import SequenceMatcher
from typing import Any

from plainformer.explain.fairness.answers import answer_of
from plainformer.finetune.metrics.spans import normalised
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.question_answering import AnswerPrediction
from plainformer.finetune.tasks.tagging.sentences import Tags


def is_flipped(task: AnyTask, before: Any, after: Any) -> bool | None:
    """Tell whether the second prediction gives another answer; None for a number, which has none.

    Of tags, those of the words that both sentences have are compared; of spans, their words.
    """
    if isinstance(before, Tags):
        return _other_tags(before, after)
    if isinstance(before, AnswerPrediction):
        return normalised(before.answer) != normalised(after.answer)
    one, other = (answer_of(task, prediction).key for prediction in (before, after))
    return None if one is None else one != other


def _other_tags(before: Tags, after: Tags) -> bool:
    """Compare tags word by word; words that were dropped or added do not count."""
    pairs = SequenceMatcher(None, before.words, after.words, autojunk=False).get_opcodes()
    return any(before.tags[a:b] != after.tags[c:d] for _, a, b, c, d in pairs if b - a == d - c)
