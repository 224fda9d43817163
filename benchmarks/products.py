"""Compare the matrix products of torch and of its oneDNN on this CPU.

    python benchmarks/products.py [--rounds 15] [--rows 2048]

Each shape is a linear layer of MiniLM or BERT-base, or the decoder of a small vocabulary, in fp32:
the forward pass without gradients (torch, oneDNN, oneDNN with prepacked weights), and forward and
backward. All are interleaved and checked to be equal. Figures are median milliseconds, and GFLOP/s
of the last. `new rows` adds one row before each call, so that oneDNN compiles a new kernel.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from machine import cpu_name
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder.ops import onednn
from plainformer.encoder.ops.prepacked import fused_linear, prepack

SHAPES = [
    *((384, 1152), (384, 384), (384, 1536), (1536, 384)),
    *((768, 2304), (768, 768), (768, 3072), (3072, 768)),
    (256, 8192),
]
KINDS = {"forward": 1, "new rows": 1, "both ways": 3}
"""The forms that are timed, and the number of products in each."""


def seconds(call: Callable[..., object], *inputs: object) -> float:
    """Return the seconds of one call."""
    begin = time.perf_counter()
    call(*inputs)
    return time.perf_counter() - begin


def pass_both_ways(form: Callable[..., Tensor], *leaves: Tensor) -> None:
    """Compute the value and both gradients."""
    for leaf in leaves:
        leaf.grad = None
    y = form(*leaves)
    y.backward(y.detach())


def main() -> None:
    """Time every shape, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2048)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {cpu_name()}")
    if not onednn.HAS_ONEDNN:
        raise SystemExit("this machine has no AVX-512, or this torch no oneDNN: nothing to compare")
    print(f"{'columns → rows':<16}{'forward':>26}{'new rows':>22}{'both ways':>20}")
    torch.manual_seed(0)
    for columns, rows in SHAPES:
        times = measure(options.rounds, options.rows, columns, rows)
        print(f"{columns:>6} → {rows:<7}", end="")
        for kind, products in KINDS.items():
            taken = [median(each) for each in times[kind].values()]
            rate = products * 2e-9 * options.rows * rows * columns / taken[-1]
            shown = " ".join(f"{1e3 * seconds:.2f}" for seconds in taken)
            print(f"{shown:>{22 if len(taken) > 2 else 14}} ({rate:.0f})", end="")
        print(flush=True)


def measure(rounds: int, count: int, columns: int, rows: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each form and library."""
    leaves = [
        torch.randn(shape, requires_grad=True)
        for shape in ((count, columns), (rows, columns), (rows,))
    ]
    _, weight, bias = leaves
    packed = prepack(weight)
    forms: dict[str, Callable[..., Tensor]] = {
        "torch": F.linear,
        "oneDNN": onednn.linear,
        "prepacked": lambda x, _, bias: fused_linear(x, packed, bias),
    }
    with torch.no_grad():
        for form in forms.values():
            torch.testing.assert_close(form(*leaves), F.linear(*leaves), rtol=1e-5, atol=1e-3)
    times: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for number in range(rounds):
        longer = torch.randn(count + 1 + number, columns)
        start = number % len(forms)  # the first call has a cold cache
        turns = [*forms.items()][start:] + [*forms.items()][:start]
        for name, form in turns:
            with torch.no_grad():
                times["forward"].setdefault(name, []).append(seconds(form, *leaves))
        for name, form in turns:
            with torch.no_grad():
                times["new rows"].setdefault(name, []).append(seconds(form, longer, weight, bias))
        for name, form in turns:
            if name != "prepacked":
                taken = seconds(pass_both_ways, form, *leaves)
                times["both ways"].setdefault(name, []).append(taken)
    return times


if __name__ == "__main__":
    main()
