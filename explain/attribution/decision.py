"""Name what a model decides about an input, as numbers that can be attributed to its words.

| task                 | decisions          | value (attributed)    | certainty (judged)        |
|----------------------|--------------------|-----------------------|---------------------------|
| one label            | the label          | its log-odds          | its probability           |
| several labels       | each label         | its log-odds          | its probability           |
| regression           | the score          | the score             | the score                 |
| options              | the option         | its log-odds          | its probability           |
| tags                 | each tag of a word | its log-odds          | its probability           |
| a span               | the best span      | the sum of both ends' | the product of both ends' |
| vectors of two texts | their similarity   | the cosine            | the cosine                |

    log-odds = log p / (1 − p) = zₖ − log Σ_{i≠k} exp zᵢ        of the logits z

A logit alone decides nothing: what adds the same to all of them changes no probability. And a
probability near 1 hardly changes with anything, while its log-odds do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.losses.label_smoothing import IGNORED
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import ClassPrediction, OneLabel
from plainformer.finetune.tasks.multi_label import LabelsPrediction, MultiLabel
from plainformer.finetune.tasks.multiple_choice import ChoicePrediction, MultipleChoice
from plainformer.finetune.tasks.question_answering import AnswerPrediction, Passage
from plainformer.finetune.tasks.question_answering import QuestionAnswering as Answering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.crf import Posterior
from plainformer.finetune.tasks.tagging.iob import OUTSIDE
from plainformer.finetune.tasks.tagging.sentences import Tags
from plainformer.finetune.tasks.tagging.task import Tagging, WordScores
from plainformer.finetune.tasks.tagging.words import TaggedItem

Numbers = Callable[[Any, Batch[Any]], Float[Tensor, " items"]]
"""Compute a number for each item from the outputs of a batch of variants of one input."""


@dataclass(frozen=True)
class Decision:
    """A decision of a model about one input, as two numbers to compute again for its variants."""

    name: str
    value: Numbers
    """The number that is attributed to words."""
    certainty: Numbers
    """The number by which an explanation is judged."""


def decisions_of(task: AnyTask, item: Item, prediction: Any) -> list[Decision]:
    """Return the decisions in a prediction.

    Raises `UserError` for a single text of a task of sentence vectors: nothing is decided there.
    """
    if isinstance(task, OneLabel):
        return [_of_label(task, prediction)]
    if isinstance(task, MultiLabel):
        return _of_labels(task, prediction)
    if isinstance(task, Regression):
        return [_same("score", lambda outputs, _: outputs.squeeze(-1))]
    if isinstance(task, MultipleChoice):
        return [_of_option(prediction)]
    if isinstance(task, Tagging):
        assert isinstance(item, TaggedItem)
        return _of_tags(task, item, prediction)
    if isinstance(task, Answering):
        assert isinstance(item, Passage)
        return [_of_span(item, prediction)]
    assert isinstance(task, SentenceEmbedding)
    if len(item.encodings) < 2:
        raise UserError("a vector decides nothing: give a text and its pair, whose cosine does")
    return [_same("cosine", _cosine)]


def log_odds(logits: Float[Tensor, "*rows classes"], index: int) -> Float[Tensor, "*rows"]:
    """Compute the log-odds of one class."""
    others = torch.cat([logits[..., :index], logits[..., index + 1 :]], -1)
    return logits[..., index] - others.logsumexp(-1)


def _same(name: str, numbers: Numbers) -> Decision:
    return Decision(name, numbers, numbers)


def _of_label(task: OneLabel[Any], prediction: ClassPrediction) -> Decision:
    number = task.labels.index(prediction.label)
    return Decision(
        prediction.label,
        lambda logits, _: log_odds(logits, number),
        lambda logits, _: logits.softmax(-1)[:, number],
    )


def _of_labels(task: MultiLabel, prediction: LabelsPrediction) -> list[Decision]:
    """Return a decision for each label, or for the most probable one where none is given."""
    names = prediction.labels or tuple(prediction.probabilities)[:1]

    def of(name: str) -> Decision:
        number = task.labels.index(name)
        return Decision(
            name,
            lambda logits, _: logits[:, number],
            lambda logits, _: logits.sigmoid()[:, number],
        )

    return [of(name) for name in names]


def _of_option(prediction: ChoicePrediction) -> Decision:
    number = prediction.number
    return Decision(
        prediction.option,
        lambda scores, _: log_odds(scores, number),
        lambda scores, _: scores.softmax(-1)[:, number],
    )


def _of_tags(task: Tagging, item: TaggedItem, prediction: Tags) -> list[Decision]:
    """Return a decision for each word with a tag, but O."""

    def of(word: int, tag: str, label: int) -> Decision:
        def scores(outputs: Any, batch: Batch[Any]) -> Float[Tensor, "items labels"]:
            """Select the scores of the word in each variant."""
            table: Tensor = tag_scores(task, outputs).view(len(batch.items), -1, len(task.labels))
            return table[:, word]

        return Decision(
            f"{tag} {prediction.words[word]}",
            lambda outputs, batch: log_odds(scores(outputs, batch), label),
            lambda outputs, batch: scores(outputs, batch).softmax(-1)[:, label],
        )

    # A model of I- labels alone has no B- for the first word of an entity: its label is the I-.
    tags = tuple(tag or OUTSIDE for tag in prediction.tags)  # none for words that were cut
    labels = task.numbers(replace(item.sentence, tags=tags))
    return [
        of(word, tag, label)
        for word, (tag, label) in enumerate(zip(tags, labels, strict=True))
        if label != IGNORED and task.labels[label] != OUTSIDE
    ]


def tag_scores(task: Tagging, outputs: WordScores) -> Float[Tensor, "words labels"]:
    """Compute the logits of tags; of entities, log p of each tag in the sequences allowed."""
    if not task.marks_entities:
        return outputs.logits
    logits = outputs.logits.double()
    return Posterior.of(outputs.chain.like(logits), logits, outputs.sentences).log_marginals()


def _of_span(item: Passage, prediction: AnswerPrediction) -> Decision:
    """Return the decision for the best span, in the window where it scores highest; or for none."""
    windows = [*range(len(item.cuts))]
    ends: list[int] | None = None
    if not prediction.abstains and prediction.spans:
        best = prediction.spans[0]
        first = int((item.offsets[:, 0] == best.start).argmax())
        last = len(item.offsets) - 1 - int((item.offsets[::-1, 1] == best.end).argmax())
        windows = [n for n in windows if _holds(item.cuts[n], first, last)]
        ends = [first, last]

    def places(window: int) -> Sequence[int]:
        if ends is None:
            return [0, 0]  # [CLS], which stands for no answer
        return [end - item.cuts[window].start + item.first for end in ends]

    def best_sum(of: Callable[[Tensor, int], Tensor]) -> Numbers:
        """Return the sum of both ends in the window that decides.

        That is the one where an answer scores highest, and where none scores lowest.
        """

        def compute(outputs: Any, batch: Batch[Any]) -> Float[Tensor, " items"]:
            found = []
            for split in batch.split(torch.stack(outputs, -1)):
                sums = []
                for window in windows:
                    start, end = places(window)
                    sums.append(of(split[window][:, 0], start) + of(split[window][:, 1], end))
                every = torch.stack(sums)
                found.append(every.min() if ends is None else every.max())
            return torch.stack(found)

        return compute

    logs = best_sum(lambda logits, place: logits.log_softmax(0)[place])
    return Decision(
        prediction.answer or "(no answer)",
        best_sum(log_odds),
        lambda outputs, batch: logs(outputs, batch).exp(),
    )


def _holds(cut: slice, first: int, last: int) -> bool:
    return bool(cut.start <= first and last < cut.stop)


def _cosine(vectors: Float[Tensor, "texts size"], batch: Batch[Any]) -> Float[Tensor, " items"]:
    """Compute the cosine of the first two texts of each item."""
    table = vectors.view(len(batch.items), -1, vectors.shape[-1])  # (items, texts, size)
    return torch.nn.functional.cosine_similarity(table[:, 0], table[:, 1], dim=-1)
