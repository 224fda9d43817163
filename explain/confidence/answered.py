"""Compute what a model says of labelled examples, once, and at any temperature after that.

An example asks one question (its label, its right option) or several (the tag of each of its words,
whether it has each label). Each question has a probability for each of its answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from plainformer.encoder import check_finite
from plainformer.finetune.data.batch import Batch, by_length
from plainformer.finetune.labels.answers import check_answers
from plainformer.finetune.losses.label_smoothing import IGNORED
from plainformer.finetune.prediction.predictor import Predictor, Progress, encode_all, no_progress
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.tagging.crf import Posterior
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.tokenizer import Tokenizer

PADDING = -1e300
"""The logit of an answer that a question has not: its probability is 0."""

Rows = Float[np.ndarray, "questions answers"]


@dataclass(frozen=True)
class Answered:
    """Examples in batches, each with the outputs of a model, before any temperature."""

    task: AnyTask
    tokenizer: Tokenizer
    batches: Sequence[tuple[Sequence[Any], Batch[Any], Any]]
    """Examples, their batch, and its outputs."""

    @classmethod
    @torch.no_grad()
    def of(
        cls, predictor: Predictor, examples: Sequence[Any], progress: Progress = no_progress
    ) -> "Answered":
        """Compute the outputs for labelled examples."""
        task, model = predictor.task.at(1.0), predictor.model.eval()
        items = [item for _, item in encode_all(task, predictor.tokenizer, examples)]
        batches = []
        for numbered in by_length(items):
            batch = Batch.of([item for _, item in numbered]).to(model.device)
            outputs = task.outputs(model, batch)
            check_finite(outputs)
            batches.append(([examples[number] for number, _ in numbered], batch, outputs))
            progress(len(numbered))
        return cls(task, predictor.tokenizer, batches)

    @property
    def examples(self) -> list[Any]:
        """Return the examples, in the order of all results."""
        return [example for examples, _, _ in self.batches for example in examples]

    def predictions(self, task: AnyTask) -> list[Any]:
        """Predict as the model does with this `task`: at its temperature, with its thresholds."""
        return [
            prediction
            for _, batch, outputs in self.batches
            for prediction in task.predict(task.calibrated(outputs), batch)
        ]

    def right(self, predictions: Sequence[Any]) -> Bool[np.ndarray, " examples"]:
        """Tell which predictions are right: taken for labels, they are encoded alike."""
        items = [item for _, batch, _ in self.batches for item in batch.items]
        taken = [
            self.task.pseudo_label(example, prediction)
            for example, prediction in zip(self.examples, predictions, strict=True)
        ]
        encoded = [item for _, item in encode_all(self.task, self.tokenizer, taken)]
        return np.array(
            [
                all(map(np.array_equal, one.targets, other.targets))
                for one, other in zip(encoded, items, strict=True)
            ],
            bool,
        )

    def logits(self) -> Rows:
        """Return the logits of each question's answers."""
        check_answers(self.task)
        every = stacked([logits_of(self.task, outputs) for _, _, outputs in self.batches])
        return np.compress(self._known, every, 0)

    def probabilities(self, temperature: float) -> Rows:
        """Compute the probabilities of each question's answers, as they are predicted.

        Those of tags are the marginals of the sequences that the tagger chooses among.
        """
        if not (isinstance(self.task, Tagging) and self.task.marks_entities):
            return softmax(self.logits() / temperature)
        found = []
        for _, _, outputs in self.batches:
            scores = self.task.scaled(outputs, temperature)
            logits = scores.logits.cpu().double()
            posterior = Posterior.of(scores.chain.like(logits), logits, scores.sentences.to("cpu"))
            found.append(posterior.log_marginals().exp().numpy())
        return np.compress(self._known, stacked(found), 0)

    @property
    def truth(self) -> Int64[np.ndarray, " questions"]:
        """Return the number of the true answer of each question."""
        return np.compress(self._known, self._all_truth)

    @property
    def owners(self) -> Int64[np.ndarray, " questions"]:
        """Return the number of the example that asks each question."""
        counts = [
            len(self.task.labels)
            if isinstance(self.task, MultiLabel)
            else len(item.places)
            if isinstance(self.task, Tagging)
            else 1
            for _, batch, _ in self.batches
            for item in batch.items
        ]
        return np.compress(self._known, np.repeat(np.arange(len(counts)), counts))

    @property
    def _all_truth(self) -> Int64[np.ndarray, " questions"]:
        found = [truth_of(self.task, batch, outputs) for _, batch, outputs in self.batches]
        return np.concatenate(found)

    @property
    def _known(self) -> Bool[np.ndarray, " questions"]:
        """Return false for a tag that the model has not learned."""
        known: Bool[np.ndarray, " questions"] = self._all_truth != IGNORED
        return known


def logits_of(task: AnyTask, outputs: Any) -> Rows:
    """Return the logits of a batch: of a label that is or is not given, 0 and its logit."""
    if isinstance(task, Tagging):
        words: Rows = outputs.logits.cpu().double().numpy()
        return words
    rows: Rows = outputs.cpu().double().numpy()
    if isinstance(task, MultiLabel):
        return np.stack([np.zeros_like(rows), rows], -1).reshape(-1, 2)  # (items · labels, 2)
    return rows


def truth_of(task: AnyTask, batch: Batch[Any], outputs: Any) -> Int64[np.ndarray, " questions"]:
    """Return the true answers of a batch, in the order of `logits_of`."""
    if isinstance(task, Tagging):
        found = batch.targets[outputs.places]
    else:
        found = batch.first(batch.targets)
    numbers: Int64[np.ndarray, " questions"] = found.cpu().numpy().reshape(-1).astype(np.int64)
    return numbers


def stacked(parts: Sequence[Float[np.ndarray, "_ _"]]) -> Rows:
    """Stack rows with different numbers of answers; what is missing is `PADDING`."""
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=PADDING)
        for part in parts
    ]
    return np.concatenate(padded)


def softmax(logits: Rows) -> Rows:
    """Compute the softmax of each row in float64."""
    parts = np.exp(logits - logits.max(1, keepdims=True))
    found: Rows = parts / parts.sum(1, keepdims=True)
    return found
