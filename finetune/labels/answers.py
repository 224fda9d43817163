"""Compute the probability of each answer that a task chooses among.

An example asks one question (its label, its right option) or several (the tag of each of its words,
whether it has each label), and each question has a distribution over its answers:

    Answers: (questions, answers)       rows add up to 1
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import UserError
from plainformer.encoder import check_finite
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.ensemble import outputs_of
from plainformer.finetune.prediction.predictor import CHUNK, Predictor, chunks, encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import OneLabel
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.tagging.task import Tagging

Answers = Float[np.ndarray, "questions answers"]


def predict_answers(
    predictor: Predictor, examples: Iterable[Any]
) -> Iterator[tuple[Any, Item, Answers]]:
    """Yield each example with its encoded input and its answers, in order."""
    task, model = predictor.task, predictor.model
    device = next(model.eval().parameters()).device
    for some in chunks(encode_all(task, predictor.tokenizer, examples), CHUNK):
        found: dict[int, Answers] = {}
        for numbered in by_length([item for _, item in some]):
            batch = Batch.of([item for _, item in numbered]).to(device)
            with torch.no_grad():
                outputs = outputs_of(task, model, batch)
            check_finite(outputs)
            numbers = (number for number, _ in numbered)
            found |= dict(zip(numbers, answers_of(task, outputs, batch), strict=True))
        for number, (example, item) in enumerate(some):
            yield example, item, found[number]


def check_answers(task: AnyTask) -> None:
    """Raise `UserError` for a task that does not choose among answers."""
    if not isinstance(task, OneLabel | MultiLabel | MultipleChoice | Tagging):
        raise UserError(f"{type(task).__name__} predicts no probabilities of answers")


def answers_of(task: AnyTask, outputs: Any, batch: Batch[Any]) -> list[Answers]:
    """Compute the answers of each item of a batch from the outputs of its task.

    Tags have the distributions of their words, without the transitions between tags.
    """
    if isinstance(task, MultiLabel):
        has = outputs.cpu().double().sigmoid()  # (items, labels)
        return list(torch.stack([1 - has, has], -1).numpy())
    if isinstance(task, Tagging):
        rows = outputs.logits.cpu().double().softmax(-1).numpy()  # (words, tags)
        ends = np.cumsum([0, *(len(item.places) for item in batch.items)]).tolist()
        return [rows[start:end] for start, end in pairwise(ends)]
    rows = outputs.cpu().double().softmax(-1).numpy()  # (items, labels)
    if isinstance(task, MultipleChoice):
        pairs = zip(rows, batch.items, strict=True)
        return [row[None, : len(item.options)] for row, item in pairs]
    assert isinstance(task, OneLabel)
    return [row[None] for row in rows]
