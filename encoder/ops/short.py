"""Attention within short sequences on a CPU: two batched products and the softmax between them.

torch's flash kernel goes block by block so that the scores of a long text are never all there at
once. Up to `LONGEST` tokens they are a few pages of memory, and the kernel's loop takes up to twice
as long as the products.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LONGEST = 64
"""tokens of a sequence, up to which the products were faster than the kernel"""

PerHead = Float[Tensor, "sequences heads length head_size"]


def serves(query: PerHead) -> bool:
    """Whether this form is the faster one."""
    return not query.is_cuda and query.shape[-2] <= LONGEST


def attention(query: PerHead, key: PerHead, value: PerHead, dropout: float = 0.0) -> PerHead:
    """softmax(Q Kᵀ / √d) V of sequences of one length, where every token sees all of its own."""
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    nothing = q.new_empty(1, 1, 1)
    scores = torch.baddbmm(nothing, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    weights = torch.dropout(scores.softmax(-1), dropout, train=dropout > 0)
    return torch.bmm(weights, v).view_as(query)
