"""Attention within a sliding window, a block of queries at a time, each with the keys that it sees.

A mask alone would let every query meet every key and then forget most of them; so the work grows
with the length of a text, not with its square.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from plainformer.encoder.ops import plain

QUERIES = 256
"""The smallest block of queries."""
Split = Float[Tensor, "sequences heads length head_size"]


def attention(
    query: Split,
    key: Split,
    value: Split,
    window: int | None,
    bias: Float[Tensor, "heads distances"] | None,
    causal: bool,
    dropout: float,
    real: Bool[Tensor, "sequences length"] | None = None,
) -> Split:
    """Compute softmax(Q Kᵀ / √d + B) V, where B is −∞ for keys that a query does not see.

    `real` is false on padding, which lies behind the tokens of a sequence and is not seen either.
    """
    attended = []
    for queries, keys, mask in blocks(query.shape[2], window, bias, causal, query):
        q, k, v = query[:, :, queries], key[:, :, keys], value[:, :, keys]
        only_causal = causal and mask is None
        if real is not None and not only_causal:  # causal: padding comes after every token
            mask = without_padding(mask, real, queries, keys)
        y = scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=only_causal)
        attended.append(y)
    return attended[0] if len(attended) == 1 else torch.cat(attended, 2)


def blocks(
    length: int,
    window: int | None,
    bias: Float[Tensor, "heads distances"] | None,
    causal: bool,
    like: Tensor,
) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """Queries of one sequence, the keys that some of them see, and what is added to the scores.

    That is None where nothing is, but for causality. Without a window that hides something there is
    one block.
    """
    reach = length if window is None or length - 1 <= window else window
    narrow = reach < length
    if bias is None and not narrow:
        yield slice(0, length), slice(0, length), None
        return
    place = torch.arange(length, device=like.device)
    size = max(reach, QUERIES)
    for start in range(0, length, size):
        end = min(start + size, length)
        queries = slice(start, end)
        keys = slice(max(start - reach, 0), end if causal else end + reach)
        distance = place[None, keys] - place[queries, None]
        visible = (distance >= -reach) & (distance <= (0 if causal else reach))
        if bias is None:
            yield queries, keys, visible
            continue
        added = plain.at_distances(bias, distance).to(like.dtype)
        hides = narrow or causal
        yield queries, keys, added.masked_fill(~visible, float("-inf")) if hides else added


def without_padding(
    mask: Tensor | None, real: Bool[Tensor, "sequences length"], queries: slice, keys: slice
) -> Tensor:
    """Mask keys that are padding; the result is (sequences, heads or 1, queries, keys).

    In a window, a padding query may see only padding: it attends to itself, since a softmax over no
    keys is NaN, also in the backward pass.
    """
    seen = real[:, None, None, keys]
    if mask is None:
        return seen
    place = torch.arange(real.shape[1], device=real.device)
    seen = seen | (place[queries, None] == place[None, keys])
    return mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, float("-inf"))
