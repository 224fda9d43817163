"""Normalise each token's vector to mean 0 and variance 1, or to root mean square 1."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig


class LayerNorm(nn.Module):
    """y = (x − mean(x)) / √(var(x) + eps) · weight + bias, over the last dimension.

    The variance is the biased one (divided by n), as in BERT: Ba et al. 2016, arXiv:1607.06450.
    """

    def __init__(self, size: int, eps: float, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Normalise each vector."""
        return ops.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """y = x / √(mean(x²) + eps) · weight: Zhang & Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Normalise each vector."""
        return ops.rms_norm(x, self.weight, self.eps)


def make_norm(config: EncoderConfig, size: int | None = None) -> LayerNorm | RMSNorm:
    """Build the norm of `config` for vectors of this `size` (default: `hidden_size`)."""
    size = config.hidden_size if size is None else size
    if config.norm == "rms_norm":
        return RMSNorm(size, config.norm_eps)
    return LayerNorm(size, config.norm_eps, bias=config.norm_bias)
