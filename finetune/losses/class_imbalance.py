"""What can be done where one label is rare and another is everywhere.

    weights     loss · n / (k · n_label): each of k labels counts the same
    sampling    a rarer label's examples are repeated until no label has more than another
    focal       loss · (1 − p)^γ: what the model is sure of hardly counts (Lin et al. 2017,
                arXiv:1708.02002; γ = 2)
    threshold   the label is given from that probability on which makes its F1 the best

The weights are scikit-learn's "balanced". As their mean over the training set is 1, the loss over
all of it, divided by the number of texts, is PyTorch's `cross_entropy(weight=…, reduction="mean")`.
Where a text may have several labels, those that have one weigh others / own for it, as PyTorch
advises for `pos_weight`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from plainformer.encoder import ops

GAMMA = 2.0
"""how fast the focal loss forgets what is known"""


def class_weights(labels: Sequence[str], names: Sequence[str]) -> tuple[float, ...]:
    """The weight of each name, from the labels of the training examples."""
    counts = Counter(labels)
    return tuple(len(labels) / (len(names) * counts[name]) for name in names)


def evenly(labels: Sequence[str | None]) -> Int64[np.ndarray, " n"]:
    """Places in `labels`, repeated so that all labels have as many as the most frequent one has."""
    counts = Counter(labels)
    most, array = max(counts.values()), np.array(labels)
    return np.concatenate([np.resize(np.flatnonzero(array == name), most) for name in counts])


def cross_entropy(
    logits: Float[Tensor, "texts labels"],
    labels: Int[Tensor, " texts"],
    weights: Sequence[float] = (),
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Σ −weight[label] · (1 − p[label])^γ · log p[label] over the texts."""
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
    """Σ over the texts of the labels' mean −weight · (1 − p)^γ · log p, p that of what is true.

    A weight is that of the texts that have the label; the others weigh 1.
    """
    log_p = logsigmoid(logits.float() * (2 * truth - 1))
    losses = -((1 - log_p.exp()) ** gamma) * log_p
    if weights:
        losses = losses * truth * losses.new_tensor(weights) + losses * (1 - truth)
    return losses.mean(-1).sum()


def best_threshold(
    truth: Bool[np.ndarray, " texts"], probabilities: Float[np.ndarray, " texts"]
) -> float:
    """The probability from which on a label is best given: where its F1 is highest.

    It lies halfway between the least probable text that is taken and the next; 0.5 where no other
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
