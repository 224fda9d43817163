"""Set the output of one head at a time to zero, and measure what the score loses.

    drop(h) = score(all heads) − score(headₕ := 0)

(Michel et al. 2019, arXiv:1905.10650). Its interval is that of the paired bootstrap: both scores
are of the same resampled examples. The loss, which rises where a score of few examples does not
move yet, stands beside it; and the gradient importance of the same paper, which takes one pass over
the examples instead of one a head: to first order, by how much a head changes the loss of an
example. Where all layers are one, a head is set to zero in all of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from plainformer.base import UserError
from plainformer.base.progress import counting
from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.int8 import is_int8
from plainformer.explain.intervals import bootstrap_all
from plainformer.explain.results import Results, Rows, results_of
from plainformer.finetune.data.batch import Item
from plainformer.finetune.importance import blocks_of, by_gradient
from plainformer.finetune.metrics.regression import spearman
from plainformer.finetune.prediction.predictor import (
    MeanLoss,
    Predictor,
    Progress,
    encode_all,
    predict_stream,
)

PerHead = Float64[np.ndarray, "layers heads"]


@dataclass(frozen=True)
class HeadAblation:
    """The drop of the score without each head, beside the importance by gradient."""

    metric: str
    """The name of the score: the first of the task's metric."""
    score: float
    """The score of the whole model."""
    examples: int
    drop: PerHead
    low: PerHead
    high: PerHead
    loss_rise: PerHead
    """By how much the mean loss rises."""
    importance: PerHead
    """By gradient: the mean over the examples."""

    @property
    def agreement(self) -> float:
        """Compute the rank correlation of importance and rise of the loss; NaN if undefined."""
        return spearman(self.loss_rise.ravel(), self.importance.ravel())

    @property
    def order(self) -> list[tuple[int, int]]:
        """Return layer and head of all heads, those first without which most is lost."""
        order = np.lexsort((-self.loss_rise.ravel(), -self.drop.ravel()))
        return [divmod(int(number), self.drop.shape[1]) for number in order]


def ablate_heads(
    predictor: Predictor,
    examples: Sequence[Any],
    seed: int = 0,
    samples: int = 1000,
    quiet: bool = False,
) -> HeadAblation:
    """Measure a model on labelled examples without each of its heads.

    The intervals are of this number of `samples`, drawn with `seed`. Raises `UserError` for no
    example, and for a model without attention or without gradients.
    """
    task, model = predictor.task, predictor.model
    if is_int8(model):
        raise UserError("the importance of heads needs gradients, and int8 has none")
    if not (blocks := blocks_of(model)):
        raise UserError("static vectors are looked up: there are no heads")
    if not examples:
        raise UserError("there is no example: give at least one")
    pairs = list(encode_all(task, predictor.tokenizer, examples))
    heads = [(block.attention, h) for block in blocks for h in range(block.attention.num_heads)]
    with counting("heads", len(pairs) * (1 + len(heads)), quiet=quiet) as advance:
        whole, loss = measured(predictor, pairs, advance)
        without = []
        for layer, head in heads:
            with ablated(layer, head):
                without.append(measured(predictor, pairs, advance))

    def drops(rows: Rows) -> Float64[np.ndarray, " heads"]:
        return score(whole, rows) - np.array([score(results, rows) for results, _ in without])

    def per_head(values: Sequence[float]) -> PerHead:
        return np.array(values, np.float64).reshape(len(blocks), -1)

    every = np.arange(len(pairs))
    with counting("intervals", samples * len(pairs), quiet=quiet) as advance:

        def counted(rows: Rows) -> Float64[np.ndarray, " heads"]:
            advance(len(rows))
            return drops(rows)

        intervals = bootstrap_all(counted, len(pairs), samples, seed)
    importance = by_gradient(task, model, [item for _, item in pairs]).heads / len(pairs)
    model.requires_grad_(False)
    return HeadAblation(
        metric=whole.measures[0].name,
        score=score(whole, every),
        examples=len(pairs),
        drop=per_head(drops(every).tolist()),
        low=per_head([low for low, _ in intervals]),
        high=per_head([high for _, high in intervals]),
        loss_rise=per_head([lost - loss for _, lost in without]),
        importance=importance.cpu().double().numpy(),
    )


def measured(
    predictor: Predictor, pairs: Sequence[tuple[Any, Item]], advance: Progress
) -> tuple[Results, float]:
    """Predict labelled examples; return what their scores are computed from, and the mean loss."""
    task, loss, results = predictor.task, MeanLoss(), results_of(predictor.task)
    found = predict_stream(task, predictor.model, pairs, loss, progress=advance, finite=True)
    for example, _, prediction in found:
        results.add(example, prediction)
    results.finish()
    return results, loss.value


def score(results: Results, rows: Rows) -> float:
    """Compute the first score of some rows."""
    return float(results.values(rows)[0][0])


@contextmanager
def ablated(layer: MultiHeadAttention, head: int) -> Iterator[None]:
    """Set the output of a head to zero within the context."""

    def without(_module: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        heads = x.view(*x.shape[:-1], layer.num_heads, -1)  # (*tokens, heads, head_size)
        kept = torch.arange(layer.num_heads, device=heads.device) != head
        return ((heads * kept[:, None]).flatten(-2), *inputs[1:])

    handle = layer.output.register_forward_pre_hook(without)
    try:
        yield
    finally:
        handle.remove()
