"""Whose matrix products are faster on this CPU: torch's own, or those of oneDNN inside it?

    python benchmarks/products.py [--rounds 15] [--rows 2048]

Each shape is a linear layer of MiniLM, of BERT-base, or the decoder of a small vocabulary, in fp32:
its forward pass without gradients, and with both gradients after it. Interleaved; checked equal;
medians of milliseconds, and GFLOP/s. `new rows` is the forward pass on one row more each time: to
oneDNN a shape that it has not seen is worth a kernel of its own.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from machine import cpu_name
from torch import Tensor
from torch.nn import functional as F

from encoder.ops import onednn

SHAPES = [
    *((384, 1152), (384, 384), (384, 1536), (1536, 384)),
    *((768, 2304), (768, 768), (768, 3072), (3072, 768)),
    (256, 8192),
]
FORMS = {"torch": F.linear, "oneDNN": onednn.linear}


def seconds(call: Callable[..., object], *inputs: object) -> float:
    """Of one call."""
    begin = time.perf_counter()
    call(*inputs)
    return time.perf_counter() - begin


def pass_both_ways(form: Callable[..., Tensor], *leaves: Tensor) -> None:
    """Value and gradients."""
    for leaf in leaves:
        leaf.grad = None
    y = form(*leaves)
    y.backward(y.detach())


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2048)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {cpu_name()}")
    if not onednn.IS_THERE:
        print("this machine has no AVX-512, or this torch no oneDNN: both are torch's")
    print(f"{'columns → rows':<16}{'forward':>22}{'new rows':>18}{'both ways':>18}")
    torch.manual_seed(0)
    for columns, rows in SHAPES:
        leaves = [
            torch.randn(shape, requires_grad=True)
            for shape in ((options.rows, columns), (rows, columns), (rows,))
        ]
        with torch.no_grad():
            found, wanted = onednn.linear(*leaves), F.linear(*leaves)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-3)
        times: dict[tuple[str, str], list[float]] = {}
        for number in range(options.rounds):
            longer = [torch.randn(options.rows + 1 + number, columns), *leaves[1:]]
            for name, form in FORMS.items():
                with torch.no_grad():
                    kinds = {
                        "forward": seconds(form, *leaves),
                        "new rows": seconds(form, *longer),
                    }
                kinds["both ways"] = seconds(pass_both_ways, form, *leaves)
                for kind, taken in kinds.items():
                    times.setdefault((kind, name), []).append(taken)
        print(f"{columns:>6} → {rows:<7}", end="")
        for kind, passes in (("forward", 1), ("new rows", 1), ("both ways", 3)):
            theirs, ours = (median(times[kind, name]) for name in FORMS)
            rate = passes * 2e-9 * options.rows * rows * columns / ours
            shown = f" ({rate:.0f})" if kind == "forward" else ""
            print(f"{1e3 * theirs:>11.2f} {1e3 * ours:.2f}{shown}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
