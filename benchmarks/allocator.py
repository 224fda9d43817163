"""Measure the cost of returning freed memory to the system in every training step.

    python benchmarks/allocator.py [--material runs/bench] [--rounds 3]
                                   [--workloads mlm-fixed mlm finetune] [--sides ours theirs]

The training workloads of `speed.py`, ours and transformers', each run in a fresh process, in turns:
with glibc's default, and with freed memory kept in the process (`plainformer/base/allocator.py`),
as every command does. Prints medians over the rounds of milliseconds per step, page faults per
step, and MiB at the peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

ROUNDS_WITHIN = 3
SIDES = ("ours", "theirs")


def measure(workload: str, material: Path, side: str, keeps: bool) -> tuple[float, float, float]:
    """Return milliseconds per step, page faults per step and peak MiB, in this process."""
    from training_contenders import TRAIN
    from workloads import open_case

    from plainformer.base.allocator import keep_memory

    if keeps:
        keep_memory()
    case = open_case(workload, material, torch.device("cpu"), "fp32", 1.0)
    step = TRAIN["plainformer" if side == "ours" else "transformers sdpa"](case)
    seconds, faults = [], 0
    for number in range(1 + ROUNDS_WITHIN):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for some in case.inputs:
            begin = time.perf_counter()
            step(some)
            seconds.append(time.perf_counter() - begin)
        if number == 0:  # warms up
            seconds.clear()
        else:
            faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return 1000 * median(seconds), faults / len(seconds), peak


def main() -> None:
    """Measure every workload, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, default=Path("runs/bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", nargs="*", default=["mlm-fixed", "mlm", "finetune"])
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=SIDES)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        workload, side, keeps = options.one
        print(json.dumps(measure(workload, options.material, side, keeps == "kept")))
        return
    kinds = [(side, keeps) for side in options.sides for keeps in ("returned", "kept")]
    print("| work | whose | memory | ms a step | faults a step | MiB |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for workload in options.workloads:
        found: dict[tuple[str, str], list[list[float]]] = {kind: [] for kind in kinds}
        for number in range(options.rounds):
            for side, keeps in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
                command = [sys.executable, __file__, "--material", str(options.material)]
                command += ["--one", workload, side, keeps]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[side, keeps].append(json.loads(done.stdout.splitlines()[-1]))
        for (side, keeps), rows in found.items():
            ms, faults, peak = (median(column) for column in zip(*rows, strict=True))
            print(f"| {workload} | {side} | {keeps} | {ms:,.0f} | {faults:,.0f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
