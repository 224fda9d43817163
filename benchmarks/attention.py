"""Compare four forms of attention over packed sequences on this CPU.

    python benchmarks/attention.py [--rounds 15]

Attention within sequences of unequal length, forward and backward, in fp32, interleaved:

- runs: one call for each run of sequences of equal length, as views (as in `ops/fused.py`);
- buckets: at most 8 buckets of similar length, each padded to its longest sequence, with a mask;
- nested: torch's jagged nested tensors;
- padded: all sequences padded to the longest, with a mask.

The outputs are checked to be equal before the timing. Figures are median milliseconds.
"""

import argparse
import platform
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.ops import fused
from plainformer.encoder.packing import Sequences

WORKLOADS = {
    # name: (tokens of a batch, mean length, longest, heads, head size)
    "definitions, 2 × 64": (2048, 20, 128, 2, 64),
    "short texts, 12 × 32": (2048, 40, 128, 12, 32),
    "short texts, 12 × 64": (2048, 40, 128, 12, 64),
    "long texts, 12 × 32": (4096, 180, 512, 12, 32),
    "long texts, 12 × 64": (4096, 180, 512, 12, 64),
}


def lengths(tokens: int, mean: int, longest: int) -> list[int]:
    """Draw sorted log-normal lengths that sum to about `tokens`."""
    rng = np.random.default_rng(0)
    drawn: list[int] = []
    while sum(drawn) < tokens:
        drawn.append(int(np.clip(rng.lognormal(np.log(mean * 0.8), 0.65), 4, longest)))
    return sorted(drawn)


def runs(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences) -> Tensor:
    """Attend with one call for each run of equal lengths."""
    return fused.attention(q, k, v, AttentionMask(sequences))


def padded(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences) -> Tensor:
    """Attend with one call for all sequences, padded to the longest."""
    mask = sequences.is_token[:, None, None, :]
    parts = (sequences.pad(x).transpose(1, 2) for x in (q, k, v))
    y = F.scaled_dot_product_attention(*parts, attn_mask=mask)
    return sequences.unpad(y.transpose(1, 2))


def buckets(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences) -> Tensor:
    """Attend with one padded call for each of at most 8 groups of similar length."""
    count = len(sequences.lengths)
    cuts = sorted({round(i * count / 8) for i in range(9)})
    groups = [sequences.lengths[a:b] for a, b in pairwise(cuts)]
    sizes = [sum(group) for group in groups]
    parts = zip(*(torch.split(x, sizes) for x in (q, k, v)), strict=True)
    outputs = [
        padded(*part, Sequences.of(group)) for part, group in zip(parts, groups, strict=True)
    ]
    return torch.cat(outputs)


def nested(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences) -> Tensor:
    """Attend with one call on jagged nested tensors."""
    offsets = sequences.cu_seqlens.long()
    bounds = {"min_seqlen": min(sequences.lengths), "max_seqlen": sequences.max_length}
    parts = (
        torch.nested.nested_tensor_from_jagged(x, offsets, **bounds).transpose(1, 2)
        for x in (q, k, v)
    )
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).values()


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor, Sequences], Tensor]] = {
    "runs": runs,
    "buckets": buckets,
    "nested": nested,
    "padded": padded,
}


def timed(form: str, inputs: list[Tensor], sequences: Sequences, backward: bool) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        y = FORMS[form](*inputs, sequences)
        if backward:
            y.sum().backward()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Check, time and print every form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    header = "".join(f"{form:>10}" for form in FORMS)
    print(f"{'milliseconds':<24}{'forward':>40}{'forward + backward':>40}")
    print(" " * 24 + header * 2)
    for name, (tokens, mean, longest, heads, size) in WORKLOADS.items():
        torch.manual_seed(0)
        sequences = Sequences.of(lengths(tokens, mean, longest))
        shape = (len(sequences.positions), heads, size)
        inputs = [torch.randn(shape, requires_grad=True) for _ in range(3)]
        reference = runs(*inputs, sequences)
        for form in FORMS:
            torch.testing.assert_close(FORMS[form](*inputs, sequences), reference)
        row = ""
        for backward in (False, True):
            times: dict[str, list[float]] = {form: [] for form in FORMS}
            for number in range(rounds):
                for form in [*FORMS][number % len(FORMS) :] + [*FORMS][: number % len(FORMS)]:
                    anew = Sequences.of(sequences.lengths)  # nothing is kept from another call
                    times[form].append(timed(form, inputs, anew, backward))
            row += "".join(f"{median(times[form]):>10.2f}" for form in FORMS)
        print(f"{name:<24}{row}", flush=True)


if __name__ == "__main__":
    main()
