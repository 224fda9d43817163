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
from torch import Tensor, nn

from plainformer.training.parallel import blocks_of, shard_like, unshard

A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
MOMENTUM = 0.95


def orthogonal(x: Float[Tensor, "matrices rows columns"]) -> Float[Tensor, "matrices rows columns"]:
    """U Vᵀ of each matrix U Σ Vᵀ in `x`, with singular values of 0.7 to 1.2 for 1."""
    wide = x.mT if x.shape[-2] > x.shape[-1] else x
    y = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    y = y.bfloat16() if y.is_cuda else y
    for _ in range(ITERATIONS):
        gram = y @ y.mT
        factor = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        y = torch.baddbmm(y, factor, y, beta=A)
    result: Tensor = y.mT if x.shape[-2] > x.shape[-1] else y
    return result.to(x.dtype)


def block_matrices(model: nn.Module) -> dict[Tensor, int]:
    """Map the weight of each linear layer in the model's blocks to the number of its fused parts.

    What a method adds to a layer is none of them: it is left to AdamW.
    """
    return {
        layer.weight: len(getattr(layer, "fused_parts", ())) or 1
        for block in blocks_of(model)
        for layer in block.modules()
        if isinstance(layer, nn.Linear)
    }


class Muon(torch.optim.AdamW):
    """Muon for the groups whose "muon" is true, AdamW for the others.

    A group also has "lr" and "weight_decay"; for AdamW "betas" and "eps"; for Muon "parts", the
    number of matrices fused in each parameter, which take an orthogonal step each.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; the gradients of matrices are gone after it."""
        for group in self.param_groups:
            if group["muon"]:
                alike: dict[torch.Size, list[Tensor]] = {}
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        alike.setdefault(matrix.shape, []).append(matrix)
                for matrices in alike.values():
                    self._update(matrices, group)
        return super().step(closure)

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """A step of matrices of one shape, whose products are taken together."""
        rows, columns = matrices[0].shape
        rows //= group["parts"]
        gradients = torch.stack([unshard(self._gathered(matrix)) for matrix in matrices])
        directions = orthogonal(gradients.view(-1, rows, columns)).reshape(gradients.shape)
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * math.sqrt(max(1, rows / columns))
            matrix.add_(shard_like(direction, matrix), alpha=-rate)
            matrix.grad = None  # AdamW passes over it

    def _gathered(self, matrix: Tensor) -> Tensor:
        """G + μM, with the new M."""
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        gradient = matrix.grad
        assert gradient is not None
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        return gradient.add(momentum, alpha=MOMENTUM)
