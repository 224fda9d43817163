"""Compute attention on packed tokens in one call of FlashAttention: no padding, no stored scores.

    varlen_attn(Q, K, V, cu_seqlens),    dropout: the operator of torch that it calls

(Dao 2023, arXiv:2307.08691). `varlen_attn` has no dropout. The operator has, and its derivative
drops the same weights again from the state of the random numbers that it returns.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.packing import Sequences

Heads = Float[Tensor, "tokens heads head_size"]
Keys = Float[Tensor, "keys heads head_size"]


def attention(query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float) -> Heads:
    """Compute softmax(Q Kᵀ / √d) V in each sequence: see `plain.attention_with_weights`."""
    from torch.nn.attention.varlen import varlen_attn

    sequences = mask.sequences
    keys = mask.keys if mask.prefix else sequences  # compiled code cannot read a cached property
    assert isinstance(sequences, Sequences) and isinstance(keys, Sequences)
    bounds = sequences.cu_seqlens, keys.cu_seqlens, sequences.max_length, keys.max_length
    back = -1 if mask.window is None else mask.window
    ahead = 0 if mask.causal else back
    if dropout == 0.0:
        heads = varlen_attn(query, key, value, *bounds, window_size=(back, ahead))
        assert isinstance(heads, Tensor)
        return heads
    output: tuple[Tensor, ...] = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        *bounds,
        dropout,
        mask.causal and back == -1,
        return_debug_mask=False,
        window_size_left=back,
        window_size_right=ahead,
    )
    return output[0]
