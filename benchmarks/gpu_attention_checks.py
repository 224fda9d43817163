"""Check attention on a GPU: fused and in every format, for every kind of mask, with dropout too.

The reference is the formula (`ops/plain.py`) in float64 on the CPU.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from gpu_checks import FORMATS, Check, Errors, compare, name_of, relative, verdict
from torch import Tensor

from plainformer.encoder import AttentionMask, Sequences, ops, use_backend
from plainformer.encoder.ops import plain

BOUNDS = {torch.float32: 2e-5, torch.bfloat16: 1.5e-2, torch.float16: 2e-3}
HEADS, HEAD_SIZE, PREFIX = 2, 64, 3
SMALL, KEYS = (2, 3, 8, 12), 16
"""Of the checks of dropout: lengths, and the head size, at least a length and its prefix."""
P = 0.3


@dataclass(frozen=True)
class Kind:
    """A kind of mask."""

    causal: bool = False
    window: int | None = None
    biased: bool = False
    prefix: int = 0


KINDS = {
    "all keys": Kind(),
    "causal": Kind(causal=True),
    "window": Kind(window=5),
    "causal window": Kind(causal=True, window=5),
    "bias": Kind(biased=True),
    "bias, causal": Kind(biased=True, causal=True),
    "bias, window": Kind(biased=True, window=5),
    "prefix": Kind(prefix=PREFIX),
    "prefix, causal": Kind(prefix=PREFIX, causal=True),
    "prefix, window": Kind(prefix=PREFIX, window=5),
    "prefix, bias": Kind(prefix=PREFIX, biased=True),
}


def attention_checks(device: torch.device, tiny: bool) -> Iterator[tuple[str, Check]]:
    """List the checks of attention, each with a name."""
    mixed = (1, 1, 7, 13, 30) if tiny else (1, 1, 77, 130, 300)
    for name, kind in KINDS.items():
        yield f"attention, {name}", lambda k=kind: attention(device, k, [mixed])
    longest = 300 if tiny else 8192
    cases: dict[str, tuple[Kind, list[Sequence[int]]]] = {
        "long texts": (Kind(), [(longest,), (3, longest // 2)]),
        "long texts, window": (Kind(window=64), [(3, longest)]),
        "single tokens, and none": (Kind(), [(1,) * 5, ()]),
    }
    for name, (kind, batches) in cases.items():
        yield f"attention, {name}", lambda k=kind, b=batches: attention(device, k, b)
    draws = 100 if tiny else 400
    for name in ("all keys", "causal", "window", "bias", "prefix"):
        yield f"dropout, {name}", lambda k=KINDS[name]: dropout(device, k, draws)


def attention(device: torch.device, kind: Kind, batches: list[Sequence[int]]) -> dict[str, Any]:
    """Compare outputs, and gradients of queries, keys, values and bias."""
    errors: Errors = {}
    for lengths in batches:
        generator = torch.Generator().manual_seed(2)
        mask = mask_of(kind, lengths, generator)
        shapes = [sum(lengths), *[len(mask.keys.positions)] * 2]
        qkv = [
            torch.randn(n, HEADS, HEAD_SIZE, generator=generator, dtype=torch.float64)
            for n in shapes
        ]
        expected = output_and_gradient(plain.attention, qkv, mask)
        for number_format in FORMATS:
            there = [x.to(device, number_format) for x in qkv]
            with use_backend("fused"):
                found = output_and_gradient(ops.attention, there, moved(mask, there[0]))
            name = name_of(number_format)
            compare(errors, name, found, expected, BOUNDS[number_format])
    return verdict(errors)


def mask_of(kind: Kind, lengths: Sequence[int], generator: torch.Generator) -> AttentionMask:
    """Build the mask of a kind, with a random bias."""
    size = 2 * max(lengths, default=1) - 1
    bias = torch.randn(HEADS, size, generator=generator, dtype=torch.float64)
    sequences = Sequences.of(lengths, causal=kind.causal)
    return AttentionMask(sequences, kind.window, bias if kind.biased else None, kind.prefix)


def moved(mask: AttentionMask, like: Tensor) -> AttentionMask:
    """Copy a mask to the device and the number format of a tensor."""
    bias = None if mask.bias is None else mask.bias.to(like)
    return AttentionMask(mask.sequences.to(like.device), mask.window, bias, mask.prefix)


def output_and_gradient(
    form: Callable[..., Tensor], qkv: Sequence[Tensor], mask: AttentionMask
) -> tuple[Tensor, Tensor]:
    """Return the output of attention, and the gradients of its inputs in one row."""
    inputs = [x.detach().clone().requires_grad_() for x in qkv]
    if mask.bias is not None:
        inputs.append(mask.bias.detach().clone().requires_grad_())
        mask = replace(mask, bias=inputs[-1])
    y = form(*inputs[:3], mask)
    return y, gradients_of(y, inputs)


def dropout(device: torch.device, kind: Kind, draws: int) -> dict[str, Any]:
    """Check the distribution of dropout, and the value and the gradient of one draw.

    With unit vectors as values an output is the row of the weights, each 0 or w / (1 − p). So the
    draw of a seed can be read, and the formula be computed with it.
    """
    generator = torch.Generator().manual_seed(4)
    mask = mask_of(kind, SMALL, generator)
    count = len(mask.keys.positions)
    q, k, v = (torch.randn(n, HEADS, KEYS, generator=generator) for n in (sum(SMALL), count, count))
    units = torch.eye(KEYS)[mask.keys.positions][:, None].expand(-1, HEADS, -1)
    exact = AttentionMask(mask.sequences, mask.window, mask.bias, mask.prefix)
    w = plain.attention(q.double(), k.double(), units.double(), exact)
    errors: Errors = {}
    for number_format in FORMATS:
        there = [x.to(device, number_format).requires_grad_() for x in (q, k, v, units)]
        own = moved(mask, there[0])

        def draw(values: Tensor, seed: int, there: Any = there, own: Any = own) -> Tensor:
            torch.manual_seed(seed)
            with use_backend("fused"):
                return ops.attention(*there[:2], values, own, P)

        bound, name = BOUNDS[number_format], name_of(number_format)
        drawn = torch.stack([draw(there[3], seed).detach() for seed in range(draws)])
        kept = (drawn > 0).cpu()
        share = kept[:, w > 0].float().mean(0)
        deviation = math.sqrt(P * (1 - P) / draws)
        errors[f"{name} a kept weight"] = relative(drawn, kept * w / (1 - P)), 2 * bound
        worst = float((share - (1 - P)).abs().max())
        errors[f"{name} share that is kept"] = worst, 5.5 * deviation
        y = draw(there[2], 0)
        found = y, gradients_of(y, there[:3])
        expected = dropped(q, k, v, units, exact, kept[0])
        compare(errors, name, found, expected, bound)
    return verdict(errors)


def dropped(
    q: Tensor, k: Tensor, v: Tensor, units: Tensor, mask: AttentionMask, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute attention with the weights that a draw has kept, and its gradient, in float64."""
    inputs = [x.double().requires_grad_() for x in (q, k, v)]
    w = plain.attention(*inputs[:2], units.double(), mask)  # (tokens, heads, keys of the sequence)
    values = torch.nn.functional.pad(
        mask.keys.pad(inputs[2]), (0, 0, 0, 0, 0, KEYS - mask.keys.max_length)
    )
    own = values[mask.sequences.sequence_ids]  # (tokens, keys, heads, head_size)
    y = torch.einsum("thk,tkhd->thd", kept * w / (1 - P), own)
    return y, gradients_of(y, inputs)


def gradients_of(y: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return the gradients of a random weighted sum of `y`, in one row."""
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    total = (y * weights.to(y)).sum()
    gradients = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
    return torch.cat([g.double().flatten().cpu() for g in gradients])
