"""What losses are made of: a choice among classes, and several objectives learned at once.

    loss = Σ weight · (sum of a part's losses / count of that part)

Parts count different things (masked tokens, pairs, all tokens), while the loop divides a step by
one count. So each part is scaled by the ratio of the counts of the whole step, which the batches
know: however a step is cut into micro-batches, the gradient is the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plainformer.encoder import ops
from plainformer.training import Loss


def guessed(logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]) -> Loss:
    """Sum −log softmax(logits)[label], and count the correctly predicted labels ("accuracy").

    A label that shares the highest score with another class is not predicted: it counts as wrong.
    """
    scores, at = logits.detach(), labels[:, None]
    own = scores.gather(-1, at)
    # The maximum of the others, without a copy of the logits: the label's own is away meanwhile.
    # An argmax would take twelve times as long on a CPU.
    others = scores.scatter_(-1, at, float("-inf")).amax(-1, keepdim=True)
    scores.scatter_(-1, at, own)
    return Loss(ops.cross_entropy(logits, labels), len(labels), {"accuracy": (own > others).sum()})


@dataclass(frozen=True)
class Part:
    """The loss of one objective on one batch."""

    loss: Loss
    among: int
    """what it counts in all batches over which the mean is taken"""
    weight: float = 1.0


def added(parts: Mapping[str, Part]) -> Loss:
    """The weighted sum of the parts, counted as the last one is; metrics bear the parts' names."""
    *_, last = parts.values()
    total = torch.zeros_like(last.loss.total)
    metrics: dict[str, float | Tensor] = {}
    for name, part in parts.items():
        scale = last.among / max(part.among, 1)
        total = total + part.weight * scale * part.loss.total
        named = {"loss": part.loss.total.detach(), **part.loss.metrics}
        metrics |= {f"{name}_{key}": scale * value for key, value in named.items()}
    return Loss(total, last.loss.items, metrics)
