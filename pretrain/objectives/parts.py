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

from encoder import ops
from training import Loss


def guessed(logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]) -> Loss:
    """−log softmax(logits)[label], summed, and how many of the labels come first ("accuracy")."""
    scores = logits.detach()
    # The highest score is found twelve times as fast on a CPU as its place.
    correct = (scores.gather(-1, labels[:, None]).squeeze(-1) == scores.amax(-1)).sum()
    return Loss(ops.cross_entropy(logits, labels), len(labels), {"accuracy": correct})


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
