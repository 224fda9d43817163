"""Muon (Jordan et al., 2024): update the matrices of a model's blocks by orthogonal steps.

    M ← μM + G        momentum
    O = U Vᵀ          of G + μM = U Σ Vᵀ: the same directions, with all singular values 1
    W ← W − sη · (λW + √max(1, rows / columns) · O)

U Vᵀ is approximated, to singular values of 0.7 to 1.2, by five Newton–Schulz iterations, which are
matrix products:

    X ← aX + (bA + cA²) X,   A = X Xᵀ,   from X = (G + μM) / ‖G + μM‖

All other parameters (embeddings, heads, norms, biases) are updated by AdamW, at its own learning
rate. `torch.optim.Muon` takes the same step in bf16; here only GPUs compute in half precision, and
CPUs, most of which are slow at it, in fp32.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.training.accelerator import half_format
from plainformer.training.parallel import blocks_of, shard_like, unshard

A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
MOMENTUM = 0.95


def orthogonal(x: Float[Tensor, "matrices rows columns"]) -> Float[Tensor, "matrices rows columns"]:
    """Compute U Vᵀ of each matrix U Σ Vᵀ in `x`, with singular values of 0.7 to 1.2 for 1."""
    wide = x.mT if x.shape[-2] > x.shape[-1] else x
    y = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    y = y.to(half_format(x.device) or x.dtype)
    for _ in range(ITERATIONS):
        gram = y @ y.mT
        factor = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        y = torch.baddbmm(y, factor, y, beta=A)
    result: Tensor = y.mT if x.shape[-2] > x.shape[-1] else y
    return result.to(x.dtype)


def block_matrices(model: nn.Module) -> dict[Tensor, int]:
    """Map the weight of each linear layer in the model's blocks to the number of its fused parts.

    Other matrices, such as B and A where a method adds B A to a weight, are left to AdamW.
    """
    return {
        layer.weight: len(getattr(layer, "fused_parts", ())) or 1
        for block in blocks_of(model)
        for layer in block.modules()
        if isinstance(layer, nn.Linear)
    }


class Muon(torch.optim.AdamW):
    """Muon for the groups whose "muon" is true, AdamW for the others.

    A group also has "lr" and "weight_decay"; for AdamW "betas" and "eps"; for Muon "parts": the
    number of matrices fused in each parameter, each of which takes its own orthogonal step.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, and clear the gradients of the matrices."""
        for group in self.param_groups:
            if group["muon"]:
                by_shape: dict[torch.Size, list[Tensor]] = {}
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        by_shape.setdefault(matrix.shape, []).append(matrix)
                for matrices in by_shape.values():
                    self._update(matrices, group)
        return super().step(closure)

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """Update matrices of one shape, with their products in one batch."""
        rows, columns = matrices[0].shape
        rows //= group["parts"]
        gradients = torch.stack([unshard(self._with_momentum(matrix)) for matrix in matrices])
        # (matrices, parts · rows, columns) -> (matrices · parts, rows, columns) and back
        directions = orthogonal(gradients.view(-1, rows, columns)).reshape(gradients.shape)
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * math.sqrt(max(1, rows / columns))
            matrix.add_(shard_like(direction, matrix), alpha=-rate)
            matrix.grad = None  # AdamW, which comes next, skips parameters without a gradient

    def _with_momentum(self, matrix: Tensor) -> Tensor:
        """Update M, and return G + μM."""
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        gradient = matrix.grad
        assert gradient is not None
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        return gradient.add(momentum, alpha=MOMENTUM)
