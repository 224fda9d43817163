"""Compute the operations of `encoder.ops.plain` with torch's fast kernels.

Attention has three forms; `attention_form` says which one serves a device and a mask:

| form   | serves                                             | computes                           |
|--------|----------------------------------------------------|------------------------------------|
| varlen | CUDA from capability 8 on, half precision, no bias | packed tokens, in one call         |
| padded | a bias, fp32, T4, MPS, XPU; a padded batch         | sequences padded to one length     |
| runs   | the CPU; on a GPU, sequences of one length         | each run of sequences of a length  |

Of the forms compiled code contains `varlen`; the others depend on the lengths of a batch.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder.attention_mask import AttentionMask, Heads, Keys
from plainformer.encoder.ops import batched, onednn, padded, plain, sliding_window, varlen
from plainformer.encoder.ops.compile_disable import disable_compile
from plainformer.encoder.ops.vocabulary_loss import cross_entropy as cross_entropy
from plainformer.encoder.packing import PaddedSequences

AttentionForm = Literal["varlen", "padded", "runs"]

rotate = plain.rotate  # torch has no kernel for it
linear = onednn.linear


def attention(
    query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float = 0.0
) -> Heads:
    """Compute softmax(Q Kᵀ / √d + B) V in each sequence: see `plain.attention_with_weights`."""
    if is_varlen(query, mask) and len(query) > 0:  # kernels refuse an empty batch
        return varlen.attention(query, key, value, mask, dropout)
    return _attention(query, key, value, mask, dropout)


def attention_form(query: Heads, mask: AttentionMask) -> AttentionForm:
    """Return the form in which `attention` is computed."""
    sequences = mask.sequences
    if isinstance(sequences, PaddedSequences):
        return "padded"
    if is_varlen(query, mask):
        return "varlen"
    return "padded" if query.device.type != "cpu" and len(sequences.runs) > 1 else "runs"


def is_varlen(query: Heads, mask: AttentionMask) -> bool:
    """Return whether FlashAttention computes this attention on packed tokens."""
    size = query.shape[-1]  # larger ones have no backward pass on some GPUs
    if not has_varlen(query) or mask.bias is not None or size % 8 or size > 192:
        return False
    # The kernel counts a prefix among the positions: a window or causality would shift.
    is_shifted = mask.prefix > 0 and (mask.window is not None or mask.causal)
    return not is_shifted and not isinstance(mask.sequences, PaddedSequences)


def has_varlen(x: Tensor) -> bool:
    """Return whether FlashAttention reads `x`: half precision, on CUDA from capability 8 on."""
    is_half = x.dtype in (torch.float16, torch.bfloat16)
    return is_half and x.is_cuda and _is_recent(x.device)


def _is_recent(device: torch.device) -> bool:
    return torch.cuda.get_device_properties(device).major >= 8


# Compiled code cannot ask: as torch.compiler.assume_constant_result, which imports the compiler.
setattr(_is_recent, "_dynamo_marked_constant", True)  # noqa: B010


@disable_compile
def _attention(query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float) -> Heads:
    if attention_form(query, mask) == "padded":
        return padded.attention(query, key, value, mask, dropout)
    if len(query) == 0:
        return value
    return _attention_by_runs(query, key, value, mask, dropout)


def _attention_by_runs(
    query: Heads, key: Keys, value: Keys, mask: AttentionMask, dropout: float
) -> Heads:
    """Attend in a view of each run of sequences of equal length: no padding, no copy.

    In a sliding window there is one call for each block of queries, with the keys that some see.
    """
    sequences, keys = mask.sequences, mask.keys
    assert not isinstance(sequences, PaddedSequences) and not isinstance(keys, PaddedSequences)

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
