"""Time training and inference on a GPU beside `transformers`: the section `speed` of `gpu.py`.

A row is one contender of one work, alone in memory. Its first result is compared with that of
plainformer (losses to 2 %, with dropout to a half; vectors to 0.05). Then it works for some
seconds, in samples of several steps: the host waits for the device at the end of each sample, as it
does in training when a loss is read. Vectors are read by the host after each call.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_contenders import OURS, contenders, make
from gpu_works import Bench, Call, LeftOut, Work, works
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from plainformer.training.peak import synchronize

TOLERANCE = {"mlm": 0.02, "classify": 0.5, "embed": 0.05}
EAGER, COMPILED = 12.0, 60.0
"""Seconds that a row is expected to take, layers compiled or not."""
MOST_PARTS = 16
Row = tuple[float, str, str, float]
"""When it is measured, the name of its work, its contender, and the seconds it needs."""


def rows(is_tiny: bool) -> Iterator[Row]:
    """List the rows; a lower first number means that it is measured earlier.

    First the works of the greatest interest as they are called, then pretraining of them compiled,
    then the other works, and last what else is compiled.
    """
    for number, (name, work) in enumerate(works(is_tiny).items()):
        for contender in contenders(work):
            is_compiled = contender.endswith("compiled")
            is_main, is_step = number < 6, work.kind == "mlm"
            when = 0 if is_main else 2
            if is_compiled:
                when = 1 if is_main and is_step else 4
            yield when + number / 100, name, contender, COMPILED if is_compiled else EAGER


def measure(bench: Bench, work: Work, name: str, first: Path, seconds: float) -> dict[str, Any]:
    """Warm up a contender, compare its result with ours in the file `first`, and time it."""
    parts, begin = 1, time.monotonic()
    with ExitStack() as held:
        while (made := _fitting(bench, work, name, parts, held)) is None:
            parts *= 2
            if work.kind == "embed" or parts > min(MOST_PARTS, work.texts):
                raise LeftOut("out of memory")
        call, found = made
        note: dict[str, Any] = {"parts": parts, "preparing": round(time.monotonic() - begin, 2)}
        note["difference"] = compare(found, first, TOLERANCE[work.kind], is_ours=name == OURS)
        for _ in range(2):
            call()
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
        note["seconds"] = timed(bench, call, 1 if work.kind == "embed" else 0, seconds)
        if bench.device.type == "cuda":
            note["peak_bytes"] = torch.cuda.max_memory_allocated(bench.device)
        note |= kernels(bench.device, call, work.calls)
    return note


def _fitting(
    bench: Bench, work: Work, name: str, parts: int, held: ExitStack
) -> tuple[Call, np.ndarray] | None:
    """Make a contender and call it once; return None where the memory does not suffice."""
    held.close()
    with suppress(torch.OutOfMemoryError):
        call = make(bench, work, name, parts, held)
        return call, call().detach().float().cpu().numpy()
    clear(bench.device)  # here, since the frames of the error held the tensors of the call
    return None


def compare(found: np.ndarray, first: Path, tolerance: float, is_ours: bool) -> float | None:
    """Return the largest relative difference from our first result, if there is one.

    Raises ValueError if it is too large.
    """
    if is_ours:
        first.parent.mkdir(parents=True, exist_ok=True)
        np.save(first, found)
    if not first.exists():
        return None
    wanted = np.load(first)
    gap = float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))
    if not gap <= tolerance:
        raise ValueError(f"it differs by {gap:.1e}, more than {tolerance:g}")
    return gap


def timed(bench: Bench, call: Call, size: int, seconds: float) -> list[float]:
    """Return the seconds of a call in each sample of `size` calls; 0: some 0.3 seconds of them."""
    synchronize(bench.device)
    begin = time.perf_counter()
    call()
    synchronize(bench.device)
    size = size or max(1, round(0.3 / (time.perf_counter() - begin)))
    samples: list[float] = []
    over = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < over:
        start = time.perf_counter()
        for _ in range(size):
            call()
        synchronize(bench.device)
        samples.append((time.perf_counter() - start) / size)
    return samples


def kernels(device: torch.device, call: Call, calls: int) -> dict[str, float]:
    """Count the kernels and copies of a call, and the milliseconds in which they run."""
    kind = ProfilerActivity.CPU if device.type == "cpu" else ProfilerActivity.CUDA
    with profile(activities=[kind]) as trace:
        call()
        synchronize(device)
    there = [event for event in trace.events() if event.device_type != DeviceType.CPU]
    busy = sum(event.time_range.elapsed_us() for event in there) / 1e3
    return {"kernels": len(there) / calls, "busy_milliseconds": busy / calls}


def clear(device: torch.device) -> None:
    """Free what the last contender held, compiled code included."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
