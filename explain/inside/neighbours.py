"""Find the training examples whose vectors are nearest to that of a text.

    cos(v, vᵢ),   v the mean of what the model's last layer reads over the rows of a text

So the texts are near that look alike where the model decides. A model of sentence vectors has its
own vector of the first text of an example.

predictor = open_model("runs/labels")
((nearest, *_),) = neighbours(predictor, ["who wrote this?"], training_of("runs/labels", predictor))
nearest.shown.text, nearest.shown.label, nearest.cosine
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import UserError
from plainformer.base.progress import counting
from plainformer.corpora import Row
from plainformer.encoder import check_finite
from plainformer.explain.inside.last_layer import run_last_layer
from plainformer.explain.inside.training import Shown, without_label
from plainformer.finetune.data.batch import Batch, by_length
from plainformer.finetune.data.rows import Input, as_rows, bounded
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding


@dataclass(frozen=True)
class Neighbour:
    """A training example near a text."""

    shown: Shown
    cosine: float


def neighbours(
    predictor: Predictor, inputs: Iterable[Input], training: Sequence[Shown], count: int = 10
) -> list[list[Neighbour]]:
    """Find the `count` nearest training examples of each text, pair or row, the nearest first."""
    task = predictor.task
    rows = task.naming((), task.columns).of(as_rows(inputs))
    return neighbours_of(predictor, queries(predictor, rows), training, count)


def neighbours_of(
    predictor: Predictor,
    examples: Sequence[Any],
    training: Sequence[Shown],
    count: int = 10,
    quiet: bool = True,
) -> list[list[Neighbour]]:
    """Find the `count` nearest training examples of each example, the nearest first."""
    asked = directions(pooled_vectors(predictor, examples))
    known = directions(pooled_vectors(predictor, [one.example for one in training], quiet))
    found = []
    for cosines in asked @ known.T:
        order = np.argsort(-cosines, kind="stable")[:count]
        found.append([Neighbour(training[i], float(cosines[i])) for i in order])
    return found


def queries(predictor: Predictor, rows: Iterable[Row]) -> list[Any]:
    """Read the examples that are asked about, without labels.

    Raises `UserError` for a row that cannot be read, an empty text, and no row at all.
    """
    found = [predictor.task.read(row, labelled=False) for row in bounded(rows)]
    if not found:
        raise UserError("there is no text: give at least one")
    for example in found:
        if not example.preview.strip():
            raise UserError(f"{example.source}: the text is empty")
    return found


def pooled_vectors(
    predictor: Predictor, examples: Sequence[Any], quiet: bool = True
) -> Float[np.ndarray, "examples size"]:
    """Compute the vector of each example: the mean of what the last layer reads."""
    task, model = predictor.task, predictor.model
    bare = map(without_label, examples)
    items = [item for _, item in encode_all(task, predictor.tokenizer, bare)]
    found: list[Float[np.ndarray, " size"]] = [np.zeros(0)] * len(items)
    with counting("reading vectors", len(items), quiet=quiet) as advance:
        for numbered in by_length(items):
            batch = Batch.of([item for _, item in numbered]).to(model.device)
            if isinstance(task, SentenceEmbedding):
                with torch.no_grad():
                    outputs = task.outputs(model, batch)
                starts = np.cumsum([0, *batch.counts[:-1]])
                vectors = outputs[torch.from_numpy(starts).to(outputs.device)]
            else:
                vectors = run_last_layer(task, model, batch)[1].mean(len(batch.items))
            check_finite(vectors)
            for (number, _), vector in zip(numbered, vectors.cpu().numpy(), strict=True):
                found[number] = vector
            advance(len(numbered))
    return np.stack(found)


def directions(x: Float[np.ndarray, "rows size"]) -> Float[np.ndarray, "rows size"]:
    """Scale vectors to length 1."""
    found: Float[np.ndarray, "rows size"] = x / np.maximum(
        np.linalg.norm(x, axis=1, keepdims=True), 1e-12
    )
    return found
