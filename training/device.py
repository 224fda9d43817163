"""Choose the device and the number format of training."""

import re
from contextlib import AbstractContextManager
from typing import Literal

import torch

from plainformer.base import UserError
from plainformer.base.environment import number_from_environment
from plainformer.training.config import DEVICES
from plainformer.training.distributed import world_size


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is a GPU where there is one, else the CPU.

    With several processes on a machine, each uses the GPU of its LOCAL_RANK.

    Raises UserError when there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world_size() > 1 and name == "cuda":
        name = f"cuda:{number_from_environment('LOCAL_RANK', 0)}"
    try:
        if not re.fullmatch(DEVICES, name):
            raise RuntimeError("not a device that can compute")
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError, OverflowError) as error:
        raise UserError(f"there is no device {name!r} here: use auto or cpu") from error
    return device


def autocast(
    device: torch.device, precision: Literal["auto", "fp32", "bf16"]
) -> AbstractContextManager[object]:
    """Return the autocast context of `precision`: matrix products in bf16, or unchanged."""
    is_half = number_format(device, precision) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half)


def number_format(device: torch.device, precision: Literal["auto", "fp32", "bf16"]) -> torch.dtype:
    """Return the format of the matrix products.

    "auto" is bf16 on a CUDA device whose hardware has it (compute capability 8 and above).
    """
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32
