"""Compute attention by blocks of queries, each with the keys that some of its queries see.

In a sliding window the cost grows with the length of a text, not with its square: a mask alone
would compute all scores and discard most of them.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from plainformer.encoder.attention_mask import AttentionMask

MIN_QUERIES = 256  # in a block
Split = Float[Tensor, "sequences heads _ head_size"]


def attention(
    query: Split,
    key: Split,
    value: Split,
    mask: AttentionMask,
    dropout: float,
    is_token: Bool[Tensor, "sequences length"] | None = None,
) -> Split:
    """Compute softmax(Q Kᵀ / √d + B) V, where B is −∞ for keys that a query does not see.

    `is_token` is false on padding, which follows the tokens of a sequence and is not seen either.
    """
    attended = []
    for queries, keys, added in blocks(query.shape[2], mask, query):
        q = query[:, :, queries]
        k, v = (select(x, keys, mask.prefix) for x in (key, value))
        only_causal = mask.causal and added is None
        if is_token is not None and not only_causal:  # causal: padding comes after every token
            added = without_padding(added, is_token, queries, keys)
        if added is not None and mask.prefix:
            seen = 1.0 if added.dtype == torch.bool else 0.0
            added = pad(added, (mask.prefix, 0), value=seen)
        y = scaled_dot_product_attention(q, k, v, added, dropout, is_causal=only_causal)
        attended.append(y)
    return attended[0] if len(attended) == 1 else torch.cat(attended, 2)


def blocks(
    length: int, mask: AttentionMask, like: Tensor
) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """Yield blocks of queries, the keys that some of them see, and a mask or bias of the scores.

    The mask is None if the kernel needs none: all keys are visible, or all that do not come later.
    Without a window that hides a key there is one block. Indices of keys do not count the prefix.
    """
    reach = length if mask.window is None or length - 1 <= mask.window else mask.window
    narrow = reach < length
    # The kernel's causality pairs query i with key i, and a prefix shifts the keys.
    if mask.bias is None and not narrow and not (mask.causal and mask.prefix):
        yield slice(0, length), slice(0, length), None
        return
    position = torch.arange(length, device=like.device)
    size = max(reach, MIN_QUERIES)
    for start in range(0, length, size):
        end = min(start + size, length)
        queries = slice(start, end)
        keys = slice(max(start - reach, 0), end if mask.causal else min(end + reach, length))
        distance = position[None, keys] - position[queries, None]
        if mask.bias is None:
            yield queries, keys, mask.allows(distance)
            continue
        added = mask.bias_at(distance).to(like.dtype)
        if narrow or mask.causal:
            added = added.masked_fill(~mask.allows(distance), -math.inf)
        yield queries, keys, added


def select(x: Split, keys: slice, prefix: int) -> Split:
    """Select the prefix and these keys or values, as a view where they are adjacent."""
    if not prefix or keys.start == 0:
        return x[:, :, keys.start : prefix + keys.stop]
    return torch.cat([x[:, :, :prefix], x[:, :, prefix + keys.start : prefix + keys.stop]], 2)


def without_padding(
    added: Tensor | None, is_token: Bool[Tensor, "sequences length"], queries: slice, keys: slice
) -> Tensor:
    """Hide padding keys: the result is `(sequences, heads or 1, queries, keys)`.

    Padding still sees itself. In a window it may see no token, and a softmax over no keys is NaN.
    """
    seen = is_token[:, None, None, keys]
    if added is None:
        return seen
    position = torch.arange(is_token.shape[1], device=is_token.device)
    seen = seen | (position[queries, None] == position[None, keys])
    return added & seen if added.dtype == torch.bool else added.masked_fill(~seen, -math.inf)
