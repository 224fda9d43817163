"""Compute attention over sequences of unequal length in one call, padded and masked.

On a GPU this is faster than one call for each length, of which every one has to be launched. It
serves where `varlen_attn` does not: dropout, a bias, fp32.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.ops import sliding_window
from plainformer.encoder.packing import Sequences

Heads = Float[Tensor, "tokens heads head_size"]


def attention(
    query: Heads,
    key: Heads,
    value: Heads,
    sequences: Sequences,
    window: int | None,
    bias: Float[Tensor, "heads distances"] | None,
    dropout: float,
) -> Heads:
    """Compute softmax(Q Kᵀ / √d + B) V in each sequence: see `plain.attention_with_weights`."""
    # (tokens, heads, head_size) → (sequences, heads, longest, head_size)
    q, k, v = (sequences.pad(x).transpose(1, 2) for x in (query, key, value))
    real = sequences.pad(torch.ones_like(sequences.rows)).bool()
    y = sliding_window.attention(q, k, v, window, bias, sequences.causal, dropout, real)
    return sequences.unpad(y.transpose(1, 2))
