"""Describe the machine of a benchmark: processor, versions, and its matrix-product peak."""

import datetime
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from plainformer.encoder import ops
from plainformer.training.peak import peak_flops

PACKAGES = (
    *("plainformer", "torch", "transformers", "tokenizers", "sentence-transformers"),
    *("x-transformers", "onnxruntime", "onnx", "flash-attn", "numpy"),
)


def peaks(device: torch.device, number_format: torch.dtype) -> tuple[float, float]:
    """Measure the operations per second of the fastest matrix product, and of torch's own.

    The other product is that of our linear layer, which on some CPUs uses another kernel.
    """
    peak_flops.cache_clear()
    with torch.no_grad():
        own = peak_flops(device, number_format, torch.mm)
        return max(own, peak_flops(device, number_format, ops.linear)), own


def surroundings(device: torch.device) -> dict[str, Any]:
    """Return the machine, the versions of all packages, the command and the date."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "python": platform.python_version(),
        "versions": versions,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": os.getloadavg()[0],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def cpu_name() -> str:
    """Return the model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
