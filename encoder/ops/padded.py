"""Compute attention over sequences of unequal length in one call, padded and masked.

On a GPU this is faster than one kernel launch for each length. It serves what the `varlen` form
does not: a bias, fp32, GPUs without that kernel. For a batch that is padded already, one mask over
all pairs of tokens keeps every shape static.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plainformer.encoder.attention_mask import AttentionMask, Heads, Keys
from plainformer.encoder.ops import sliding_window
from plainformer.encoder.packing import PaddedSequences


def attention(query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float) -> Heads:
    """Compute softmax(Q Kᵀ / √d + B) V in each sequence: see `plain.attention_with_weights`."""
    # (*tokens, heads, head_size) → (sequences, heads, longest, head_size)
    q = mask.sequences.pad(query).transpose(1, 2)
    k, v = (mask.keys.pad(x).transpose(1, 2) for x in (key, value))
    if isinstance(mask.sequences, PaddedSequences):
        y = scaled_dot_product_attention(q, k, v, dense_mask(mask, query.dtype), dropout)
        # A copy, since kernels lay out y in different ways: an exported graph must not depend on
        # the one that ran.
        y = y.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return mask.sequences.unpad(y)
    y = sliding_window.attention(q, k, v, mask, dropout, mask.sequences.is_token)
    return mask.sequences.unpad(y.transpose(1, 2))


def dense_mask(
    mask: AttentionMask, dtype: torch.dtype
) -> Bool[Tensor, "#batch 1 queries keys"] | Float[Tensor, "#batch heads queries keys"]:
    """Return the visible keys, or the biases with −∞ for hidden keys.

    Padding sees every key, since a softmax over no keys is NaN.
    """
    visible = mask.visible | ~mask.sequences.is_token[:, None, :, None]
    bias = mask.score_bias()
    return visible if bias is None else bias.to(dtype).masked_fill(~visible, float("-inf"))
