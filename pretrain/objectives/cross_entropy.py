"""The cross-entropy of labels, with their accuracy."""

from jaxtyping import Float, Int
from torch import Tensor

from plainformer.encoder import ops
from plainformer.training import Loss


def cross_entropy_loss(
    logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]
) -> Loss:
    """Sum −log softmax(logits)[label], and count the correctly predicted labels ("accuracy").

    A label that shares the highest score with another class counts as wrong.
    """
    scores, columns = logits.detach(), labels[:, None]
    own = scores.gather(-1, columns)  # (items, 1)
    # The largest of the other scores, without a copy of the logits: the label's own is −∞ for a
    # moment. An argmax would take twelve times as long on a CPU.
    others = scores.scatter_(-1, columns, float("-inf")).amax(-1, keepdim=True)
    scores.scatter_(-1, columns, own)
    return Loss(ops.cross_entropy(logits, labels), len(labels), {"accuracy": (own > others).sum()})
