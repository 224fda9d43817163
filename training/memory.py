"""Measure the free memory of a device, and estimate the least that training takes.

    bytes ≥ 4 · (2 · parameters + state) / shards
            + 4 · layers · tokens · (6 · hidden + 2 · intermediate)

Weights, gradients and the state of the optimizer are float32, and with fsdp split among the
processes; the backward pass needs at least the inputs of the matrices and norms of each layer, or,
with activation checkpointing, one vector per token and layer.
"""

from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device) -> int | None:
    """Return the free bytes on `device`; None where the system does not report them."""
    if device.type in ("cuda", "xpu"):
        return int(torch.accelerator.get_memory_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    found = [_meminfo(), _cgroup()]
    return min((size for size in found if size is not None), default=None)


def least_memory(
    parameters: int,
    state: int,
    *,
    layers: int,
    hidden: int,
    intermediate: int,
    tokens: int,
    recomputed: bool = False,
    shards: int = 1,
) -> int:
    """Estimate the least memory of training, in bytes, for batches of this many tokens.

    `state` is the size of the optimizer's state: see `training.optimizer.state_size`.
    """
    per_token = hidden if recomputed else 6 * hidden + 2 * intermediate
    return 4 * (2 * parameters + state) // shards + 4 * layers * tokens * per_token


def _meminfo() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(kibibytes)
    except (OSError, ValueError, StopIteration, IndexError):
        return None


def _cgroup() -> int | None:
    """Return the free bytes within the memory limit of a container (cgroup v2).

    Cached pages of files count as free: the system drops them when memory is needed.
    """
    try:
        most = int((CGROUP / "memory.max").read_text(encoding="ascii"))  # "max": no limit
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        counts = dict(line.split() for line in lines)
        cached = int(counts["inactive_file"]) + int(counts["active_file"])
        return max(0, most - used + cached)
    except (OSError, ValueError, KeyError):
        return None
