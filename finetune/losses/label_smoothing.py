"""Smooth the labels: learn a distribution that gives every label a share (Szegedy et al. 2016).

    loss = (1 − ε) · −log p[label] + ε · mean over the labels of −log p

The second term keeps the model from growing ever surer of what it knows (arXiv:1512.00567, §7). It
is PyTorch's `cross_entropy(label_smoothing=ε)`, also in that a label's weight, where there are
weights, is that of its −log p in both terms.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plainformer.encoder.packing import to_device

IGNORED = -100
"""The label of what is not counted, as in PyTorch."""


def smoothed(
    loss: Float[Tensor, ""],
    logits: Float[Tensor, "items labels"],
    labels: Int[Tensor, " items"],
    smoothing: float,
    weights: Sequence[float] = (),
) -> Float[Tensor, ""]:
    """Smooth the labels of a cross-entropy, which is summed over the items; 0: leave it alone."""
    if not smoothing:
        return loss
    losses = -logits.float().log_softmax(-1)
    if weights:
        losses = losses * to_device(torch.tensor(weights), losses.device)
    counted = losses.mean(-1).where(labels != IGNORED, 0.0)  # to select them would wait for a GPU
    return (1 - smoothing) * loss + smoothing * counted.sum()
