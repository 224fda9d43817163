"""Put the labels of a fine-tuned model into another order: of its head, and of its task.

Runs of the same labels may have them in different orders. Their outputs can be compared and
averaged, and so can their weights, once all have one order.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from plainformer.encoder import SentenceEncoder, SequenceClassifier, TokenClassifier
from plainformer.encoder.heads.sentence import Projection
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.tagging.crf import Chain, ChainTagger

T = TypeVar("T")

OF_EACH_LABEL = ("labels", "weights", "words", "word_ids", "thresholds")
"""Fields of tasks that have a value for each label, or none."""


def with_label_order(task: AnyTask, model: PretrainedModel, labels: Sequence[str]) -> AnyTask:
    """Reorder the rows of the head of `model`, in place, and return the task of these `labels`."""
    own: tuple[str, ...] = getattr(task, "labels", ())
    order = [own.index(label) for label in labels]
    if order == sorted(order):
        return task
    reorder_head(model, order)
    given = {name: getattr(task, name, ()) for name in OF_EACH_LABEL}
    changed: Any = {name: reordered(values, order) for name, values in given.items() if values}
    return replace(task, **changed)


@torch.no_grad()
def reorder_head(model: PretrainedModel, order: Sequence[int]) -> None:
    """Reorder the outputs of a classifier; a masked language model has none of its own."""
    if isinstance(model, ChainTagger):
        crf, count = model.crf, len(order)
        for scores in (crf.start, crf.end):
            scores.copy_(scores[list(order)])
        transitions = crf.transitions.view(count, count)
        transitions.copy_(transitions[list(order)][:, list(order)])
        reorder_head(model.classifier, order)
        model.labels = model.classifier.labels
        crf.legal = Chain.legal(model.labels)
    elif isinstance(model, SequenceClassifier | TokenClassifier):
        for rows in (model.classifier.weight, model.classifier.bias):
            rows.copy_(rows[list(order)])
        model.labels = reordered(model.labels, order)
    elif isinstance(model, SentenceEncoder):  # SetFit's last layer gives the logits
        last = model.layers[-1]
        assert isinstance(last, Projection) and last.linear.bias is not None
        for rows in (last.linear.weight, last.linear.bias):
            rows.copy_(rows[list(order)])


def reordered(values: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    """Return the values in this order."""
    return tuple(values[index] for index in order)
