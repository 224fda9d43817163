"""Find the training examples that pulled a decision most, by the gradients of the last layer.

A step of training on example z moves the weights by −η ∇ℓ(z), and so the value v of a decision, its
log-odds, by −η ∇ℓ(z) · ∇v. For the last layer y = W x + b, with gradients g by y in the rows r of z
and h in the rows s of the decision, this is closed:

    influence(z) = −∇ℓ(z) · ∇v = −Σᵣ Σₛ (gᵣ · hₛ)(xᵣ · xₛ + 1)

(TracIn, Pruthi et al. 2020, arXiv:2002.08484, which has the loss of the decision in place of v: the
same up to the factor 1 − p.) Above 0: z pulled towards the decision; below 0: away from it. Over
several checkpoints it is their mean. ℓ is the loss of the task without weights of labels.

predictor = open_model("runs/labels")
((found,),) = influences(predictor, ["who is it?"], training_of("runs/labels", predictor))
found.decision, found.strongest(5)      # [(example, influence), …]
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from plainformer.base import UserError, plural
from plainformer.base.progress import counting
from plainformer.explain.attribution.decision import Decision, decisions_of
from plainformer.explain.inside.last_layer import (
    LastLayer,
    check_last_layer,
    has_bias,
    run_last_layer,
)
from plainformer.explain.inside.neighbours import queries
from plainformer.explain.inside.training import Shown
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.data.rows import Input, as_rows
from plainformer.finetune.prediction.predictor import CHUNK, Predictor, chunks, encode_all
from plainformer.training.checkpoint import load_tensors


@dataclass(frozen=True)
class Influence:
    """The influence of each training example on a decision about a text."""

    text: str
    decision: str
    training: Sequence[Shown]
    numbers: Float[np.ndarray, " examples"]

    def strongest(self, count: int, towards: bool = True) -> list[tuple[Shown, float]]:
        """Return the examples that pulled most towards the decision, or away from it."""
        sign = -1 if towards else 1
        order = np.argsort(sign * self.numbers, kind="stable")[:count]
        found = [(self.training[i], float(self.numbers[i])) for i in order]
        return [(one, number) for one, number in found if sign * number < 0]


def influences(
    predictor: Predictor, inputs: Iterable[Input], training: Sequence[Shown]
) -> list[list[Influence]]:
    """Compute the influences on each decision about each text, pair or row."""
    task = predictor.task
    rows = task.naming((), task.columns).of(as_rows(inputs))
    return influences_on(predictor, queries(predictor, rows), training)


def influences_on(
    predictor: Predictor,
    examples: Sequence[Any],
    training: Sequence[Shown],
    checkpoints: Sequence[Path] = (),
    quiet: bool = True,
) -> list[list[Influence]]:
    """Compute the influences on each decision about each example.

    They are those of the model as it is, or the mean over `checkpoints` of its training; these
    stay in the model. Raises `UserError` for a model without a layer that decides.
    """
    check_last_layer(predictor.task)
    items = [item for _, item in encode_all(predictor.task, predictor.tokenizer, examples)]
    decided = [decisions(predictor, item) for item in items]
    count = sum(map(len, decided))
    total = np.zeros((len(training), count))
    states = max(len(checkpoints), 1)
    with counting("reading gradients", states * len(training), quiet=quiet) as advance:
        for checkpoint in checkpoints or (None,):
            if checkpoint is not None:
                load_checkpoint(predictor, checkpoint)
            pairs = zip(items, decided, strict=True)
            asked = [directions_of(predictor, item, some) for item, some in pairs if some]
            done = 0
            for numbers in pulls(predictor, training, torch.cat(asked)) if asked else ():
                total[done : done + len(numbers)] += numbers / states
                done += len(numbers)
                advance(len(numbers))
    columns = iter(total.T)
    return [
        [Influence(example.preview, one.name, training, next(columns)) for one in some]
        for example, some in zip(examples, decided, strict=True)
    ]


def decisions(predictor: Predictor, item: Item) -> list[Decision]:
    """Return the decisions of the model about an item."""
    task, model = predictor.task, predictor.model
    with torch.no_grad():
        batch = Batch.of([item]).to(model.device)
        (prediction,) = task.predict(task.outputs(model, batch), batch)
    return decisions_of(task, item, prediction)


def directions_of(
    predictor: Predictor, item: Item, some: Sequence[Decision]
) -> Float[Tensor, "decisions outputs columns"]:
    """Compute the gradients of the decisions about an item by the weights and the bias."""
    batch = Batch.of([item]).to(predictor.model.device)
    outputs, layer = run_last_layer(predictor.task, predictor.model, batch)
    x = columns_of(predictor, layer)  # (rows, columns)
    values = [decision.value(outputs, batch).squeeze(0) for decision in some]
    return torch.stack([layer.gradients(value).float().T @ x for value in values])


def pulls(
    predictor: Predictor,
    training: Sequence[Shown],
    asked: Float[Tensor, "decisions outputs columns"],
) -> Iterator[Float[np.ndarray, "examples decisions"]]:
    """Yield the influences of the training examples on the decisions, in portions."""
    task, model = predictor.task, predictor.model
    pairs = encode_all(task, predictor.tokenizer, (one.example for one in training))
    for some in chunks(pairs, CHUNK):
        found = np.zeros((len(some), len(asked)))
        for numbered in by_length([item for _, item in some]):
            batch = Batch.of([item for _, item in numbered]).to(model.device)
            outputs, layer = run_last_layer(task, model, batch)
            gradients = layer.gradients(task.loss(outputs, batch).total).float()
            moved = torch.einsum("ro,doc,rc->rd", gradients, asked, columns_of(predictor, layer))
            sums = moved.new_zeros(len(numbered), len(asked)).index_add(0, layer.owners, moved)
            found[[number for number, _ in numbered]] = -sums.cpu().numpy()
        yield found


def columns_of(predictor: Predictor, layer: LastLayer) -> Float[Tensor, "rows columns"]:
    """Return what the layer reads, with a column of ones where it has a bias."""
    if not has_bias(predictor.model):
        return layer.inputs
    return torch.cat([layer.inputs, layer.inputs.new_ones(len(layer.inputs), 1)], -1)


def checkpoints_of(run: Path) -> list[Path]:
    """Return the folders of the checkpoints of a run; raise `UserError` for fewer than two."""
    found = sorted((run / "checkpoints").glob("step-*"))
    if len(found) < 2:
        raise UserError(
            f"{run} has {plural(len(found), 'checkpoint')}, and a mean needs two: train with "
            "--checkpoint-every and a larger --keep"
        )
    return found


def load_checkpoint(predictor: Predictor, folder: Path) -> None:
    """Load the weights of a checkpoint into the model; raise `UserError` if they do not fit."""
    try:
        load_tensors(predictor.model, load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder} does not fit the model: {error}") from None
