"""Add losses that count different things: tokens, sequences, examples of several tasks.

    loss = Σ weight · (sum of the losses of a term / count of that term)

A step is divided by one count (see `training.step`), so each term is scaled by the ratio of the
counts of the whole step. However a step is cut into micro-batches, the gradient is the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from plainformer.training.objective import Loss


@dataclass(frozen=True)
class Term:
    """The loss of one objective on one batch, as a term of a weighted sum."""

    loss: Loss
    step_count: int
    """Number of items of this term in all batches of the step."""
    weight: float = 1.0


def weighted_sum(terms: Mapping[str, Term]) -> Loss:
    """Return the weighted sum of the terms, which counts the items of the last one.

    The metrics of a term get its name as a prefix; its loss is the metric "<name>_loss".
    """
    *_, last = terms.values()
    total = torch.zeros_like(last.loss.total)
    metrics: dict[str, float | Tensor] = {}
    for name, term in terms.items():
        scale = last.step_count / max(term.step_count, 1)
        total = total + term.weight * scale * term.loss.total
        named = {"loss": term.loss.total.detach(), **term.loss.metrics}
        metrics |= {f"{name}_{key}": scale * value for key, value in named.items()}
    return Loss(total, last.loss.items, metrics)
