"""Run the operations of `encoder.ops.plain` on torch's fast kernels.

Attention is where the forms differ most. On CUDA in half precision `varlen_attn` reads the packed
tokens as they are; with dropout or a bias, which it does not have, and in fp32, sequences of
unequal length are padded for one call. On a CPU one `scaled_dot_product_attention` serves each run
of sequences of equal length, which are a view of the packed tokens: no padding, no copy. In a
sliding window it is one for each block of queries, with the keys that some of them see.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder.ops import batched, onednn, padded, plain, sliding_window, vocabulary_loss
from plainformer.encoder.packing import Sequences

Heads = Float[Tensor, "tokens heads head_size"]

# There is no kernel to gain from: the formula is three passes over the data in any form.
rotate = plain.rotate

# What a CPU gains by is longer than a line, and has a file of its own.
linear = onednn.linear
cross_entropy = vocabulary_loss.cross_entropy


def attention(
    query: Heads,
    key: Heads,
    value: Heads,
    sequences: Sequences,
    window: int | None = None,
    bias: Float[Tensor, "heads distances"] | None = None,
    dropout: float = 0.0,
) -> Heads:
    """softmax(Q Kᵀ / √d + B) V within each sequence: see `plain.attention_with_weights`."""
    if len(query) == 0:  # no token: kernels want one
        return value
    if query.is_cuda and _is_half(query) and bias is None and dropout == 0.0:
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = sequences.cu_seqlens, sequences.max_length
        back = -1 if window is None else window
        reach = (back, 0 if sequences.causal else back)
        heads = varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=reach)
        assert isinstance(heads, Tensor)
        return heads
    if query.is_cuda and len(sequences.runs) > 1:
        return padded.attention(query, key, value, sequences, window, bias, dropout)
    bare = window is None and bias is None and not sequences.causal and dropout == 0.0

    def attend(run: tuple[int, int], *parts: Heads) -> Heads:
        q, k, v = (x.view(*run, *x.shape[1:]).transpose(1, 2) for x in parts)
        if bare and batched.is_served(q):
            y = batched.attention(q, k, v)
        else:
            y = sliding_window.attention(q, k, v, window, bias, sequences.causal, dropout)
        return y.transpose(1, 2).flatten(0, 1)

    if len(sequences.runs) == 1:
        return attend(sequences.runs[0], query, key, value)
    sizes = [count * length for count, length in sequences.runs]
    # One split and one concatenation: slices would each send back a gradient of the whole length.
    split = zip(*(torch.split(x, sizes) for x in (query, key, value)), strict=True)
    outputs = [attend(run, *parts) for run, parts in zip(sequences.runs, split, strict=True)]
    return torch.cat(outputs)


def layer_norm(
    x: Float[Tensor, "*batch hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"] | None,
    eps: float,
) -> Float[Tensor, "*batch hidden"]:
    """(x − mean) / √(variance + eps) · weight + bias."""
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def rms_norm(
    x: Float[Tensor, "*batch hidden"], weight: Float[Tensor, " hidden"], eps: float
) -> Float[Tensor, "*batch hidden"]:
    """x / √(mean(x²) + eps) · weight."""
    return F.rms_norm(x, weight.shape, weight, eps)


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x)."""
    return F.gelu(x)


def gelu_tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return F.gelu(x, approximate="tanh")


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)
