"""Every operation of `encoder.ops.plain` again, on torch's fast kernels: to be run.

Attention is where the forms differ most. On CUDA in half precision `varlen_attn` reads the packed
tokens as they are. Elsewhere one `scaled_dot_product_attention` serves each run of sequences of
equal length, which are a view of the packed tokens: no padding, no copy.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor
from torch.autograd import function
from torch.nn import functional as F

from encoder.ops import plain
from encoder.packing import Sequences

Heads = Float[Tensor, "tokens heads head_size"]

ROWS = 512
"""of a matrix in whole numbers at a time, which a processor's cache holds from pass to pass"""

# There is no kernel to gain from: the formula is three passes over the data in any form.
rotate = plain.rotate


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
    if query.is_cuda and _is_half(query) and bias is None and dropout == 0.0:
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = sequences.cu_seqlens, sequences.max_length
        back = -1 if window is None else window
        reach = (back, 0 if sequences.causal else back)
        heads = varlen_attn(query, key, value, bounds, bounds, longest, longest, window_size=reach)
        assert isinstance(heads, Tensor)
        return heads
    sizes = [count * length for count, length in sequences.runs]
    outputs = []
    # One split and one concatenation: slices would each send back a gradient of the whole length.
    split = zip(*(torch.split(x, sizes) for x in (query, key, value)), strict=True)
    for (count, length), parts in zip(sequences.runs, split, strict=True):
        q, k, v = (x.view(count, length, *x.shape[1:]).transpose(1, 2) for x in parts)
        mask = _mask(length, window, bias, sequences.causal, query)
        only_causal = sequences.causal and mask is None
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=only_causal)
        outputs.append(y.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs) if outputs else value


def _mask(
    length: int, window: int | None, bias: Tensor | None, causal: bool, like: Tensor
) -> Tensor | None:
    """What is added to the scores of one sequence; None where a kernel needs no telling."""
    narrow = window is not None and length - 1 > window
    if bias is None and not narrow:
        return None
    distance = plain.distances(length, like.device)
    back = window if narrow and window is not None else length
    visible = (distance >= -back) & (distance <= (0 if causal else back))
    if bias is None:
        return visible
    added = plain.at_distances(bias, distance).to(like.dtype)
    return added.masked_fill(~visible, float("-inf")) if narrow or causal else added


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


def cross_entropy(
    logits: Float[Tensor, "items classes"], labels: Int[Tensor, " items"]
) -> Float[Tensor, ""]:
    """Σ −log softmax(logits)[label] over the items whose label is not −100."""
    if logits.is_cuda or torch.compiler.is_compiling():
        return F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    apply: Callable[..., Tensor] = _CrossEntropy.apply
    return apply(logits.float() if _is_half(logits) else logits, labels)


def int8_linear(
    x: Float[Tensor, "*batch columns"],
    weight: Int8[Tensor, "rows columns"],
    scale: Float[Tensor, " rows"],
    bias: Float[Tensor, " rows"] | None,
) -> Float[Tensor, "*batch rows"]:
    """s · (round(x / s) Wᵀ) · scale + bias, with s = max |x| / 127 of each token."""
    if x.is_cuda or x.shape[-1] == 1:  # of single columns torch's product is wrong
        return plain.int8_linear(x, weight, scale, bias)
    flat = x.reshape(-1, x.shape[-1])
    y = x.new_empty(len(flat), len(weight))
    for part, out in zip(torch.split(flat, ROWS), torch.split(y, ROWS), strict=True):
        whole, step = plain.to_int8(part)
        out.copy_(torch._int_mm(whole, weight.T)).mul_(step)
        if bias is None:
            out.mul_(scale)
        else:
            torch.addcmul(bias, out, scale, out=out)
    return y.view(*x.shape[:-1], len(weight))


class _CrossEntropy(torch.autograd.Function):
    """The cross entropy of a large vocabulary, which on a CPU is all reading and writing.

    The exponentials of the forward pass become the gradient where they lie. torch's own form keeps
    log softmax and writes two tensors of its size beside it: here it takes 1.7 times as long.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        counted, at = labels != -100, labels.clamp_min(0)[:, None]
        top = logits.amax(-1, keepdim=True)
        exponentials = (logits - top).exp_()
        sums = exponentials.sum(-1, keepdim=True)
        ctx.save_for_backward(exponentials, sums, at, counted[:, None])
        losses = (sums.log() + top - logits.gather(-1, at)).squeeze(-1)
        return losses.where(counted, 0.0).sum()

    @staticmethod
    @function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """(softmax(logits) − 1 at the label) · gradient, and nothing where nothing is asked."""
        exponentials, sums, at, counted = ctx.saved_tensors
        share = gradient * counted
        result = exponentials.mul_(share / sums)  # torch refuses to pass backward twice
        return result.scatter_add_(-1, at, -share.to(result.dtype)), None


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)
