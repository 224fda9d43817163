"""Compute the operations of `encoder.ops.plain` with torch's fast kernels.

Attention has several forms. On CUDA in half precision `varlen_attn` reads the packed tokens as they
are. With dropout or a bias, which it lacks, in fp32, and on other GPUs, sequences of unequal length
are padded for one call. On a CPU each run of sequences of equal length is one
`scaled_dot_product_attention` on a view of the packed tokens: no padding, no copy. In a sliding
window there is one call for each block of queries, with the keys that some of them see.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.ops import batched, onednn, padded, plain, sliding_window, vocabulary_loss
from plainformer.encoder.packing import PaddedSequences

Heads = Float[Tensor, "*tokens heads head_size"]
Keys = Float[Tensor, "*keys heads head_size"]

rotate = plain.rotate  # torch has no kernel for it
linear = onednn.linear
cross_entropy = vocabulary_loss.cross_entropy


def attention(
    query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float = 0.0
) -> Heads:
    """Compute softmax(Q Kᵀ / √d + B) V in each sequence: see `plain.attention_with_weights`."""
    sequences, keys = mask.sequences, mask.keys
    if isinstance(sequences, PaddedSequences) or isinstance(keys, PaddedSequences):
        return padded.attention(query, key, value, mask, dropout)
    if len(query) == 0:  # kernels refuse an empty batch
        return value
    # The kernel counts a prefix among the positions: a window or causality would shift.
    is_shifted = mask.prefix > 0 and (mask.window is not None or mask.causal)
    is_varlen = mask.bias is None and dropout == 0.0 and not is_shifted
    if is_varlen and has_varlen(query):
        from torch.nn.attention.varlen import varlen_attn

        back = -1 if mask.window is None else mask.window
        heads = varlen_attn(
            query,
            key,
            value,
            sequences.cu_seqlens,
            keys.cu_seqlens,
            sequences.max_length,
            keys.max_length,
            window_size=(back, 0 if mask.causal else back),
        )
        assert isinstance(heads, Tensor)
        return heads
    if query.device.type != "cpu" and len(sequences.runs) > 1:
        return padded.attention(query, key, value, mask, dropout)

    def attend(count: int, *parts: Tensor) -> Tensor:
        # (count · length, heads, head_size) → (count, heads, length, head_size)
        q, k, v = (x.view(count, -1, *x.shape[1:]).transpose(1, 2) for x in parts)
        if mask.is_full and dropout == 0.0 and batched.is_served(q):
            y = batched.attention(q, k, v)
        else:
            y = sliding_window.attention(q, k, v, mask, dropout)
        return y.transpose(1, 2).flatten(0, 1)

    counts = [count for count, _ in sequences.runs]
    if len(counts) == 1:
        return attend(counts[0], query, key, value)
    # One split: the backward pass of a slice would allocate a gradient of the full length for each.
    sizes, key_sizes = ([count * n for count, n in x.runs] for x in (sequences, keys))
    queries = torch.split(query, sizes)
    parts = zip(queries, *(torch.split(x, key_sizes) for x in (key, value)), strict=True)
    return torch.cat([attend(count, *part) for count, part in zip(counts, parts, strict=True)])


def layer_norm(
    x: Float[Tensor, "*batch hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"] | None,
    eps: float,
) -> Float[Tensor, "*batch hidden"]:
    """Compute (x − mean) / √(variance + eps) · weight + bias."""
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def rms_norm(
    x: Float[Tensor, "*batch hidden"], weight: Float[Tensor, " hidden"], eps: float
) -> Float[Tensor, "*batch hidden"]:
    """Compute x / √(mean(x²) + eps) · weight."""
    return F.rms_norm(x, weight.shape, weight, eps)


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute x · Φ(x)."""
    return F.gelu(x)


def gelu_tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Compute x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return F.gelu(x, approximate="tanh")


def has_varlen(x: Tensor) -> bool:
    """Return whether `varlen_attn` serves `x`: in half precision, on CUDA from capability 8 on."""
    is_half = x.dtype in (torch.float16, torch.bfloat16)
    return is_half and x.is_cuda and torch.cuda.get_device_properties(x.device).major >= 8
