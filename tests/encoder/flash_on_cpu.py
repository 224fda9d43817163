"""The operator of FlashAttention, as its formula, for tensors on a CPU: torch has it on CUDA alone.

With it the calls that a GPU would get are held against the plain form: their arguments, and the
derivative that torch's own tables give to the operator. It drops weights by a seed that it returns.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LIBRARY = torch.library.Library("aten", "IMPL")  # its kernels end with it


def install() -> None:
    """Register the operator and its derivative, once a process."""
    if not torch._C._dispatch_has_kernel_for_dispatch_key("aten::_flash_attention_forward", "CPU"):
        LIBRARY.impl("_flash_attention_forward", forward, "CPU")
        LIBRARY.impl("_flash_attention_backward", backward, "CPU")


def sequences(
    q: Tensor,
    k: Tensor,
    bounds: tuple[Tensor, Tensor],
    window: tuple[int, int],
    p: float,
    seed: int,
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """The queries and keys of each sequence, its weights, and what dropout multiplies them by."""
    (starts, ends), (key_starts, key_ends) = ((x[:-1].tolist(), x[1:].tolist()) for x in bounds)
    generator = torch.Generator().manual_seed(seed)
    for a, b, c, d in zip(starts, ends, key_starts, key_ends, strict=True):
        distance = torch.arange(d - c) - torch.arange(b - a)[:, None] - (d - c - b + a)
        seen = (window[0] < 0) | (-distance <= window[0])
        seen = seen & ((window[1] < 0) | (distance <= window[1]))
        scores = torch.einsum("qhd,khd->hqk", q[a:b], k[c:d]) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        kept = torch.rand(weights.shape, generator=generator) >= p
        yield slice(a, b), slice(c, d), weights, kept / (1 - p)


def forward(
    q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int,
    p: float, is_causal: bool, _: bool, *, window_size_left: int, window_size_right: int, **__: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Compute the output, and the seed in the place of the state of the random numbers."""
    for bounds, longest in ((cu_q, max_q), (cu_k, max_k)):
        assert bounds.dtype == torch.int32 and int(bounds.diff().max()) == longest
    seed = int(torch.randint(2**31, ()))
    out = torch.empty_like(q)
    window = window_size_left, 0 if is_causal else window_size_right
    for rows, columns, weights, kept in sequences(q, k, (cu_q, cu_k), window, p, seed):
        out[rows] = torch.einsum("hqk,khd->qhd", weights * kept, v[columns])
    state = torch.tensor([seed, 0]).to(torch.uint64)
    unused = state[0].clone()
    return out, q.new_zeros(q.shape[1], len(q)).float(), state, unused, q.new_zeros(0)


def backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, cu_q: Tensor,
    cu_k: Tensor, max_q: int, max_k: int, p: float, is_causal: bool, state: Tensor, _: Tensor,
    *, window_size_left: int, window_size_right: int, **__: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Compute the gradients of queries, keys and values."""
    dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
    window, seed = (window_size_left, 0 if is_causal else window_size_right), int(state[0])
    for rows, columns, weights, kept in sequences(q, k, (cu_q, cu_k), window, p, seed):
        dv[columns] = torch.einsum("hqk,qhd->khd", weights * kept, grad[rows])
        of_weights = torch.einsum("qhd,khd->hqk", grad[rows], v[columns]) * kept
        of_scores = weights * (of_weights - (weights * of_weights).sum(-1, keepdim=True))
        of_scores = of_scores / q.shape[-1] ** 0.5
        dq[rows] = torch.einsum("hqk,khd->qhd", of_scores, k[columns])
        dk[columns] = torch.einsum("hqk,qhd->khd", of_scores, q[rows])
    return dq, dk, dv
