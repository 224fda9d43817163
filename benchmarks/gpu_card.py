"""Measure what a device can do at most: the peak of matrix products, copies, and launches."""

import time
from typing import Any

import torch
from gpu_checks import FORMATS, name_of
from machine import peaks

from plainformer.encoder.packing import to_device
from plainformer.training.peak import synchronize

NOMINAL = {
    "A100": 312e12,
    "B200": 2250e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}
"""Dense bf16 operations a second by the data sheets (without sparsity)."""
LAUNCHES = 2000
IDS, PRODUCT = 2**16, 8192
"""The ids of a large batch, and the size of matrices whose product takes some 20 milliseconds."""


def nominal_peak(name: str) -> float | None:
    """Return the published bf16 peak of a GPU by its name; None where it is not listed."""
    return next((peak for part, peak in NOMINAL.items() if part in name), None)


def card(device: torch.device) -> dict[str, Any]:
    """Measure a device."""
    found: dict[str, Any] = {}
    for number_format in FORMATS if device.type != "cpu" else FORMATS[:1]:
        best, torch_mm = peaks(device, number_format)
        found[f"peak_{name_of(number_format)}"] = best
        found[f"torch_mm_{name_of(number_format)}"] = torch_mm
    size = 2**28 if device.type != "cpu" else 2**22
    source = torch.randn(size, device=device)
    target = torch.empty_like(source)
    found["copied_bytes_per_second"] = 2 * 4 * size / seconds(device, lambda: target.copy_(source))
    small = torch.zeros(8, device=device)

    def launch() -> None:
        for _ in range(LAUNCHES):
            small.add_(1)

    found["microseconds_per_launch"] = 1e6 * seconds(device, launch) / LAUNCHES
    found["waits"] = waits(device)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["memory_bytes"] = properties.total_memory
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
        found["cuda"] = torch.version.cuda
        found["nominal"] = nominal_peak(torch.cuda.get_device_name(device))
    return found


def waits(device: torch.device) -> dict[str, float]:
    """Return the milliseconds for which the host waits to copy ids while the device works.

    From ordinary memory, as training does it, and from pinned memory.
    """
    size = PRODUCT if device.type != "cpu" else 512
    factor = torch.randn(size, size, device=device)
    product = torch.empty_like(factor)
    ids = torch.zeros(IDS, dtype=torch.int64)
    found = {"work": 1e3 * seconds(device, lambda: torch.mm(factor, factor, out=product))}
    for name in ("ordinary", "pinned"):
        if name == "pinned" and device.type == "cpu":
            continue
        times = []
        for _ in range(5):
            torch.mm(factor, factor, out=product)
            begin = time.perf_counter()
            source = ids.pin_memory() if name == "pinned" else ids
            there = to_device(source, device)
            times.append(1e3 * (time.perf_counter() - begin))
            synchronize(device)
            del there
        found[name] = min(times)
    return found


def seconds(device: torch.device, work: Any) -> float:
    """Return the least seconds of five runs."""
    times = []
    for _ in range(6):
        synchronize(device)
        begin = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times[1:])
