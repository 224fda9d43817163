"""Check correctness and measure speed on a GPU, in one command of a few minutes.

    python benchmarks/gpu.py --minutes 9                  # needs a CUDA device; no network
    python benchmarks/gpu.py --device cpu --tiny          # the same script on a CPU, small shapes

The items run in order of importance, each only if the time left is enough. `--out` is written after
each item, so that an interruption keeps the figures so far.

1. `card`   the device, the versions, the measured peak of a matrix product in fp32, bf16 and fp16;
2. `right`  `gpu_checks.py`: every family and head, attention, dropout, DDP, FSDP and resume against
            the formulas in float64 on the CPU, or against the unwrapped run;
3. `fast`   `gpu_speed.py`: tokens a second and utilisation beside `transformers` on the same
            weights and the same batches: pretraining, fine-tuning, inference; compiled and not.

Utilisation is the ratio of the operations counted by `encoder/flops.py` to `--peak` (989 TFLOP/s,
the published bf16 peak of an H100 without sparsity). The exit code is 1 when an item of `right` is
wrong, or fails.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # must be set before CUDA starts, for exact resume

import gpu_checks
import gpu_speed
import torch
from gpu_speed import Bench
from machine import surroundings

from plainformer.base import nan_to_null, write_json
from plainformer.encoder import ops
from plainformer.training.peak import peak_flops

DEFAULT_PEAK = 989e12
Item = tuple[str, str, float, Any]
"""Section, name, the least seconds it needs, and the function that measures it."""


def card(bench: Bench) -> dict[str, Any]:
    """Measure the peak of a matrix product in each number format."""
    found: dict[str, Any] = {}
    formats = [torch.float32] if bench.device.type == "cpu" else gpu_checks.FORMATS
    for number_format in formats:
        with torch.no_grad():
            peak = peak_flops(bench.device, number_format, ops.linear)
        found[f"peak of {gpu_checks.name_of(number_format)}"] = f"{peak / 1e12:.4g} TFLOP/s"
    if bench.device.type == "cuda":
        properties = torch.cuda.get_device_properties(bench.device)
        found["memory"] = f"{properties.total_memory / 2**30:.0f} GiB"
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(bench.device)))
        found["cuda"] = torch.version.cuda
    return found


def items(bench: Bench) -> Iterator[Item]:
    """List the measurements, most important first."""
    yield "card", "card", 0, lambda: card(bench)
    for name, check in gpu_checks.checks(bench.device, tiny=bench.tiny):
        yield "right", name, 5, check
    for name, seconds, measure in gpu_speed.measurements(bench):
        yield "fast", name, seconds, measure


def show(name: str, result: dict[str, Any]) -> None:
    """Print the result of a measurement."""
    print(f"{name}", flush=True)
    for key, value in result.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        print(f"    {key:<40} {text}", flush=True)


def main() -> int:
    """Run the items that fit into the time; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="time for the whole script")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes and few steps: a trial")
    parser.add_argument("--sections", nargs="*", choices=("card", "right", "fast"), default=[])
    parser.add_argument("--peak", type=float, default=DEFAULT_PEAK, help="operations a second")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpu.json")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: try the script with --device cpu --tiny")
    out = options.out or Path(__file__).parent / "results" / "gpu.json"
    deadline = time.monotonic() + 60 * options.minutes
    device = torch.device(options.device)
    bench = Bench(device, tiny=options.tiny, peak=options.peak, deadline=deadline)
    report: dict[str, Any] = {"run": surroundings(device), "card": {}, "right": {}, "fast": {}}
    wrong = []
    for section, name, seconds, measure in items(bench):
        if options.sections and section not in options.sections:
            continue
        if time.monotonic() + seconds > deadline:
            result = {"not run": f"it needs {seconds:.0f} seconds, more than are left"}
        else:
            begin = time.monotonic()
            try:
                result = measure()
            except Exception as error:  # reported, and the other items still run
                traceback.print_exc()
                reason = (str(error).splitlines() or [""])[0][:200]
                result = {"failed": f"{type(error).__name__}: {reason}"}
            result["seconds"] = round(time.monotonic() - begin, 1)
        if section == "right" and ("failed" in result or result.get("right") is False):
            wrong.append(name)
        report[section][name] = result
        show(name, result)
        write_json(out, nan_to_null(report))
    print(f"\nwrong: {', '.join(wrong) or 'nothing'}; every figure is in {out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
