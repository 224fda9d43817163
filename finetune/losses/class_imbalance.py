"""Balance rare and frequent labels in training.

    weights     loss · n / (k · n_label): each of k labels has the same total weight
    sampling    repeat the examples of rarer labels until all labels are equally frequent
    focal       loss · (1 − p)^γ: an example with a high p counts little (Lin et al. 2017,
                arXiv:1708.02002; γ = 2)
    threshold   predict a label from the probability at which its F1 is highest

The weights are scikit-learn's "balanced". Their mean over the training set is 1, so the loss summed
over that set and divided by its size is PyTorch's `cross_entropy(weight=…, reduction="mean")`. In
multi-label classification the positives of a label have the weight negatives / positives, as in
PyTorch's `BCEWithLogitsLoss(pos_weight=…)`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from plainformer.encoder import ops
from plainformer.encoder.packing import to_device

GAMMA = 2.0
"""Exponent of the focal loss."""


def class_weights(labels: Sequence[str], names: Sequence[str]) -> tuple[float, ...]:
    """Compute the weight of each name from the labels of the training examples."""
    counts = Counter(labels)
    return tuple(len(labels) / (len(names) * counts[name]) for name in names)


def oversample(labels: Sequence[str | None]) -> Int64[np.ndarray, " n"]:
    """Return indices into `labels`, repeated until all labels are as frequent as the commonest."""
    counts = Counter(labels)
    most, array = max(counts.values()), np.array(labels)
    return np.concatenate([np.resize(np.flatnonzero(array == name), most) for name in counts])


def cross_entropy(
    logits: Float[Tensor, "texts labels"],
    labels: Int[Tensor, " texts"],
    weights: Sequence[float] = (),
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Sum −weight[label] · (1 − p[label])^γ · log p[label] over the texts."""
    if not weights and not gamma:
        return ops.cross_entropy(logits, labels)
    log_p = logits.float().log_softmax(-1).gather(-1, labels[:, None]).squeeze(-1)
    losses = -((1 - log_p.exp()) ** gamma) * log_p
    if weights:
        losses = losses * to_device(torch.tensor(weights), losses.device)[labels]
    return losses.sum()


def binary_cross_entropy(
    logits: Float[Tensor, "texts labels"],
    truth: Float[Tensor, "texts labels"],
    weights: Sequence[float] = (),
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Sum over the texts the mean over the labels of −weight · (1 − p)^γ · log p.

    p is the probability of the true value, with or without the label. A weight applies to the texts
    with the label; the others have weight 1.
    """
    log_p = logsigmoid(logits.float() * (2 * truth - 1))
    losses = -((1 - log_p.exp()) ** gamma) * log_p
    if weights:
        weight = to_device(torch.tensor(weights), losses.device)
        losses = losses * truth * weight + losses * (1 - truth)
    return losses.mean(-1).sum()


def best_threshold(
    truth: Bool[np.ndarray, " texts"], probabilities: Float[np.ndarray, " texts"]
) -> float:
    """Return the probability threshold of a label with the highest F1.

    It lies halfway between the lowest probability above it and the highest below it; it is 0.5
    where no other threshold is better.
    """
    order = np.argsort(-probabilities, kind="stable")
    p, found = probabilities[order], truth[order].cumsum()
    f1 = 2 * found / (np.arange(1, len(p) + 1) + found[-1])
    f1[:-1][p[:-1] == p[1:]] = 0  # texts of equal probability are on one side
    best, usual = int(f1.argmax()), int((p >= 0.5).sum())
    if f1[best] <= (f1[usual - 1] if usual else 0):
        return 0.5
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float(p[best] + below) / 2
