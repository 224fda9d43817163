"""Normalise each token's vector to mean 0 and variance 1, or to root mean square 1."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops


class LayerNorm(nn.Module):
    """y = (x − mean(x)) / √(var(x) + eps) · weight + bias, over the last dimension.

    The variance is the biased one (divided by n), as in BERT: Ba et al. 2016, arXiv:1607.06450.
    """

    def __init__(self, size: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Normalise each vector."""
        return ops.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """y = x / √(mean(x²) + eps) · weight: Zhang & Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Normalise each vector."""
        return ops.rms_norm(x, self.weight, self.eps)
