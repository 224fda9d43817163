"""Balance rare and frequent labels in training.

    weights     loss · n / (k · n_label): each of k labels counts the same
    sampling    a rarer label's examples are repeated until all labels are equally frequent
    focal       loss · (1 − p)^γ: well-learned examples hardly count (Lin et al. 2017,
                arXiv:1708.02002; γ = 2)
    threshold   the label is predicted from the probability on at which its F1 is best

The weights are scikit-learn's "balanced". As their mean over the training set is 1, the loss over
all of it, divided by the number of texts, is PyTorch's `cross_entropy(weight=…, reduction="mean")`.
In multi-label classification a label's positives are weighted negatives / positives, as in
PyTorch's `BCEWithLogitsLoss(pos_weight=…)`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from plainformer.encoder import ops

GAMMA = 2.0
"""Exponent of the focal loss."""


def class_weights(labels: Sequence[str], names: Sequence[str]) -> tuple[float, ...]:
    """Compute the weight of each name from the labels of the training examples."""
    counts = Counter(labels)
    return tuple(len(labels) / (len(names) * counts[name]) for name in names)


def oversample(labels: Sequence[str | None]) -> Int64[np.ndarray, " n"]:
    """Return indices of `labels`, repeated until all labels are as frequent as the commonest."""
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
        losses = losses * losses.new_tensor(weights)[labels]
    return losses.sum()


def binary_cross_entropy(
    logits: Float[Tensor, "texts labels"],
    truth: Float[Tensor, "texts labels"],
    weights: Sequence[float] = (),
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Sum over the texts the labels' mean −weight · (1 − p)^γ · log p, with p of the truth.

    A weight counts for the texts that have the label; the others weigh 1.
    """
    log_p = logsigmoid(logits.float() * (2 * truth - 1))
    losses = -((1 - log_p.exp()) ** gamma) * log_p
    if weights:
        losses = losses * truth * losses.new_tensor(weights) + losses * (1 - truth)
    return losses.mean(-1).sum()


def best_threshold(
    truth: Bool[np.ndarray, " texts"], probabilities: Float[np.ndarray, " texts"]
) -> float:
    """Return the probability threshold of a label with the highest F1.

    It lies halfway between the least probable text above it and the next one; 0.5 where no other
    does better.
    """
    order = np.argsort(-probabilities, kind="stable")
    p, found = probabilities[order], truth[order].cumsum()
    f1 = 2 * found / (np.arange(1, len(p) + 1) + found[-1])
    f1[:-1][p[:-1] == p[1:]] = 0  # one of equals is not taken without the other
    best, usual = int(f1.argmax()), int((p >= 0.5).sum())
    if f1[best] <= (f1[usual - 1] if usual else 0):
        return 0.5
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float(p[best] + below) / 2
