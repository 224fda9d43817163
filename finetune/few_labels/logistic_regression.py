"""Fit logistic regression to fixed vectors, to its only minimum.

    loss = ½ |W|² + C Σᵢ −log softmax(W xᵢ + b)[yᵢ]

The bias is free. Of two labels W has one row w, and the logits are ∓½ (w · x + b): this is
scikit-learn's `LogisticRegression`. The loss is convex, so L-BFGS (Liu & Nocedal 1989) finds the
minimum from zeros, without learning rate or seed; in float64, since it is small.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from plainformer.training.accelerator import widest_float

MAX_ITERATIONS = 2000


def logistic_regression(
    vectors: Float[Tensor, "texts size"],
    targets: Int[Tensor, " texts"],
    c: float = 1.0,
    tolerance: float = 1e-9,
) -> tuple[Float[Tensor, "labels size"], Float[Tensor, " labels"]]:
    """Return the weights and the bias of the best classifier, in float64.

    `targets` number the labels from 0, and every label occurs. It stops where no number of the
    gradient of the loss is above `tolerance`.
    """
    x, labels = vectors.detach().to(widest_float(vectors.device)), int(targets.max()) + 1
    rows = 1 if labels == 2 else labels
    weight = x.new_zeros(rows, x.shape[1], requires_grad=True)
    bias = x.new_zeros(rows, requires_grad=True)
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=tolerance,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def of_labels(rows: Float[Tensor, "rows ..."]) -> Float[Tensor, "labels ..."]:
        return torch.cat([-rows / 2, rows / 2]) if labels == 2 else rows

    def loss() -> float:
        logits = x @ of_labels(weight).T + of_labels(bias)  # (texts, labels)
        total = c * cross_entropy(logits, targets, reduction="sum") + weight.square().sum() / 2
        weight.grad, bias.grad = torch.autograd.grad(total, [weight, bias])
        return total.item()

    with torch.enable_grad():
        optimizer.step(loss)
    return of_labels(weight).detach(), of_labels(bias).detach()
