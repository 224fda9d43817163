"""Muon (Jordan et al., 2024): the matrices of a model's blocks take orthogonal steps.

    M ← μM + G        the running sum of the gradient
    O = U Vᵀ          of G + μM = U Σ Vᵀ: the same directions, each as large as the others
    W ← W − sη · (λW + √max(1, rows / columns) · O)

U Vᵀ is not computed from a decomposition but, to within about a third, by five Newton–Schulz
iterations, which are matrix products:

    X ← aX + (bA + cA²) X,   A = X Xᵀ,   from X = (G + μM) / ‖G + μM‖

All else (embeddings, heads, norms, biases) is AdamW's, at a rate of its own. `torch.optim.Muon` is
the same step in bf16, which GPUs are fast at and most CPUs are not: here a CPU computes in fp32.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.parallel import full, part

A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
MOMENTUM = 0.95


def orthogonal(x: Float[Tensor, "... rows columns"]) -> Float[Tensor, "... rows columns"]:
    """U Vᵀ of `x` = U Σ Vᵀ, or of each matrix in `x`, with singular values of 0.7 to 1.2 for 1."""
    wide = x.mT if x.shape[-2] > x.shape[-1] else x
    y = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    y = y.bfloat16() if y.is_cuda else y
    for _ in range(ITERATIONS):
        gram = y @ y.mT
        y = A * y + (B * gram + C * gram @ gram) @ y
    result: Tensor = y.mT if x.shape[-2] > x.shape[-1] else y
    return result.to(x.dtype)


def is_block_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix of a stack of blocks: one whose name has a number."""
    return parameter.ndim == 2 and any(part.isdecimal() for part in name.split("."))


class Muon(torch.optim.AdamW):
    """Muon for the groups whose "muon" is true, AdamW for the others.

    A group has besides: "lr", "weight_decay" and, for AdamW, "betas" and "eps".
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; the gradients of matrices are gone after it."""
        for group in self.param_groups:
            if group["muon"]:
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        self._update(matrix, matrix.grad, group["lr"], group["weight_decay"])
                        matrix.grad = None  # AdamW passes over it
        return super().step(closure)

    def _update(self, matrix: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        direction = part(orthogonal(full(gradient.add(momentum, alpha=MOMENTUM))), matrix)
        matrix.mul_(1 - rate * decay)
        rows, columns = matrix.shape
        matrix.add_(direction, alpha=-rate * math.sqrt(max(1, rows / columns)))
