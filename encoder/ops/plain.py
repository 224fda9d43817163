"""Compute every operation by its textbook formula; `encoder.ops.fused` has the fast forms.

Packed tensors are `(tokens, heads, head_size)`. The names of padded ones end in their dimensions:
`b` sequences, `h` heads, `q` queries, `k` keys, `d` head size.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.encoder.attention_mask import AttentionMask, Heads, Keys


def attention(
    query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float = 0.0
) -> Heads:
    """Compute softmax(Q Kᵀ / √d + B) V in each sequence (Vaswani et al. 2017, arXiv:1706.03762)."""
    return attention_with_weights(query, key, value, mask, dropout)[0]


def attention_with_weights(
    query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float = 0.0
) -> tuple[Heads, Float[Tensor, "sequences heads queries keys"]]:
    """Compute `attention`, and return its weights too (before dropout), zeros on padding.

    `mask` says which keys a query sees and what is added to their scores. `dropout` is the
    probability that a weight is set to zero.
    """
    q_bqhd = mask.sequences.pad(query)
    k_bkhd, v_bkhd = mask.keys.pad(key), mask.keys.pad(value)
    scores_bhqk = torch.einsum("bqhd,bkhd->bhqk", q_bqhd, k_bkhd) / math.sqrt(query.shape[-1])
    bias_bhqk = mask.score_bias()
    if bias_bhqk is not None:
        scores_bhqk = scores_bhqk + bias_bhqk
    weights_bhqk = masked_softmax(scores_bhqk, mask.visible)
    kept_bhqk = torch.dropout(weights_bhqk, dropout, train=dropout > 0)
    y_bqhd = torch.einsum("bhqk,bkhd->bqhd", kept_bhqk, v_bkhd)
    return mask.sequences.unpad(y_bqhd), weights_bhqk


def masked_softmax(
    scores: Float[Tensor, "*batch keys"], visible: Bool[Tensor, "*#batch keys"]
) -> Float[Tensor, "*batch keys"]:
    """Compute exp(s) / Σ exp(s) over the visible keys; zeros, not NaN, if no key is visible."""
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).masked_fill(~visible, 0.0)


def rotate(
    x: Float[Tensor, "*tokens_heads head_size"],
    cos: Float[Tensor, "*tokens half"],
    sin: Float[Tensor, "*tokens half"],
) -> Float[Tensor, "*tokens_heads head_size"]:
    """Compute (x₁ + i x₂) · e^{iθ} for the halves x₁, x₂ of each head (RoPE, Su et al. 2021)."""
    first, second = x.chunk(2, dim=-1)
    # (*tokens, half) → (*tokens, 1, …, half): one angle for all heads of a token
    shape = (*cos.shape[:-1], *[1] * (x.ndim - cos.ndim), cos.shape[-1])
    cos, sin = cos.view(shape), sin.view(shape)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).type_as(x)


def linear(
    x: Float[Tensor, "*batch columns"],
    weight: Float[Tensor, "rows columns"],
    bias: Float[Tensor, " rows"] | None = None,
) -> Float[Tensor, "*batch rows"]:
    """Compute x Wᵀ + b."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def layer_norm(
    x: Float[Tensor, "*batch hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"] | None,
    eps: float,
) -> Float[Tensor, "*batch hidden"]:
    """Compute (x − mean) / √(variance + eps) · weight + bias (Ba et al. 2016, arXiv:1607.06450)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # a square overflows in fp16
    centred = wide - wide.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    normed = centred / torch.sqrt(variance + eps) * weight
    return (normed if bias is None else normed + bias).type_as(x)


def rms_norm(
    x: Float[Tensor, "*batch hidden"], weight: Float[Tensor, " hidden"], eps: float
) -> Float[Tensor, "*batch hidden"]:
    """Compute x / √(mean(x²) + eps) · weight (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / torch.sqrt(wide.square().mean(-1, keepdim=True) + eps) * weight).type_as(x)


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute x · Φ(x), Φ the normal distribution (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def gelu_tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), the approximation of GELU."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def cross_entropy(
    logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]
) -> Float[Tensor, ""]:
    """Compute Σ −log softmax(logits)[label] over the items whose label is not −100."""
    counted = labels != -100
    logits, labels = logits[counted], labels[counted]
    log_probabilities = logits - logits.logsumexp(-1, keepdim=True)
    return -log_probabilities.gather(-1, labels[:, None]).sum()
