"""Measure time and error of several ways to compute the norm of a large gradient.

python benchmarks/grad_norm.py [--millions 39] [--rounds 7] [--threads 2]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from plainformer.training.grad_norm import gradient_norm

CHUNK = 2**18


def chunks(x: Tensor) -> Tensor:
    """Copy chunks to float64, and add their dot products."""
    total, buffer = torch.zeros((), dtype=torch.float64), torch.empty(CHUNK, dtype=torch.float64)
    for part in x.split(CHUNK):
        copied = buffer[: len(part)].copy_(part)
        total += torch.dot(copied, copied)
    return total.sqrt()


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "vector_norm in float32": torch.linalg.vector_norm,
    "dot in float32": lambda x: torch.dot(x, x).double().sqrt(),
    "vector_norm(…, dtype=float64)": lambda x: torch.linalg.vector_norm(x, dtype=torch.float64),
    "chunks copied to float64": chunks,
    "rows of 512 (chosen)": lambda x: gradient_norm([x]),
}


def main() -> None:
    """Time each form, and print its least time and its relative error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--millions", type=float, default=39.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    gradient = 1e-3 * torch.randn(round(1e6 * options.millions))
    exact = float(gradient.double().norm())
    print(f"torch {torch.__version__}, {options.threads} threads, {len(gradient):,} numbers")
    for name, form in FORMS.items():
        seconds = []
        for _ in range(options.rounds + 1):
            begin = time.perf_counter()
            norm = float(form(gradient))
            seconds.append(time.perf_counter() - begin)
        print(f"{name:<32}{1e3 * min(seconds[1:]):8.1f} ms   error {abs(norm / exact - 1):.1e}")


if __name__ == "__main__":
    main()
