"""Time single texts of ever other lengths with many and with few of oneDNN's kernels kept.

    python benchmarks/kernels.py [--model minilm] [--texts 128] [--rounds 3]

oneDNN compiles a kernel for each number of rows of each product. Each setting runs in a process of
its own, settings in turns: all kernels kept, as torch does by default; 32, 96; and 96 shared by
texts of like length, as `serve` does. Lengths are log-normal around 30 tokens, at most 128. Prints
the milliseconds of a text (median, 95th percentile), and what the process grew by, in MB. A minute.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from plainformer.base import UserError, find_folder

SETTINGS = {"all": (1024, False), "32": (32, False), "96": (96, False), "96, shared": (96, True)}
VARIABLES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"


def measure(folder: Path, texts: int, shares: bool) -> list[float]:
    """Return the median and the 95th percentile in milliseconds, and the growth in MB."""
    import torch

    from plainformer.encoder import use_huge_pages
    from plainformer.encoder.ops import shared_kernels
    from plainformer.encoder.packing import Sequences
    from plainformer.finetune import Embedder

    shared_kernels.KEEPS_FEW_KERNELS = shares
    model = Embedder.load(folder, max_length=128).model
    use_huge_pages(model)
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(np.log(30), 0.6, texts)).clip(4, 128).astype(int)
    inputs = [(torch.full((n,), 1000), Sequences.of([n])) for n in lengths.tolist()]
    times: list[float] = []
    with torch.inference_mode():
        before = resident()
        for _ in range(4):
            for ids, sequences in inputs:
                begin = perf_counter()
                model(ids, None, None, sequences)
                times.append(1e3 * (perf_counter() - begin))
        warm = times[texts:]
        return [median(warm), float(np.percentile(warm, 95)), resident() - before]


def resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=list(SETTINGS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(*measure(find_folder(given.model), given.texts, SETTINGS[given.one][1]))
        return
    try:
        find_folder(given.model)
    except UserError as error:
        parser.error(str(error))
    found: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    for _ in range(given.rounds):
        for name, (kept, _) in SETTINGS.items():
            limits = dict.fromkeys(VARIABLES, str(kept))
            done = subprocess.run(
                [sys.executable, *sys.argv, "--one", name],
                env={**os.environ, **limits},
                check=True,
                capture_output=True,
                text=True,
            )
            found[name].append([float(word) for word in done.stdout.split()])
    print(f"{'kernels kept':<14}{'median ms':>12}{'95th':>8}{'grew by MB':>14}")
    for name, rows in found.items():
        middle, late, grown = np.median(rows, axis=0)
        print(f"{name:<14}{middle:>12.2f}{late:>8.2f}{grown:>14.0f}")


if __name__ == "__main__":
    main()
