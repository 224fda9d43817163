"""Choose the device and the number format of training and inference."""

import re
from contextlib import AbstractContextManager

import torch

from plainformer.base import UserError
from plainformer.base.environment import number_from_environment
from plainformer.base.inference import DEVICES, Precision
from plainformer.training.accelerator import accelerator, half_format, has_bf16
from plainformer.training.config import LoopConfig
from plainformer.training.distributed import world_size

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is CUDA, MPS or XPU where there is one, else the CPU.

    With several processes on a machine, each uses the GPU of its LOCAL_RANK.

    Raises UserError when there is no such device, and for several processes on MPS.
    """
    found = accelerator()
    if name == "auto":
        name = found or "cpu"
    if world_size() > 1 and name in ("cuda", "xpu"):
        name = f"{name}:{number_from_environment('LOCAL_RANK', 0)}"
    try:
        if not re.fullmatch(DEVICES, name):
            raise RuntimeError("not a device that can compute")
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError, OverflowError) as error:
        others = ", ".join(filter(None, ("auto", found)))
        raise UserError(f"there is no device {name!r} here: use {others} or cpu") from error
    if world_size() > 1 and device.type == "mps":
        raise UserError("several processes cannot share MPS: start one, or use --device cpu")
    return device


def training_device(config: LoopConfig) -> torch.device:
    """Return the device of a run; raise UserError where it cannot do what `config` asks for."""
    device = choose_device(config.device)
    number_format(device, config.precision)
    if config.compile and device.type == "mps":
        raise UserError("--compile does not work on MPS: leave it out, or use --device cpu")
    return device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the autocast context of `precision`: matrix products in half precision, or in fp32."""
    form = number_format(device, precision)
    return torch.autocast(device.type, form, enabled=form != torch.float32)


def number_format(device: torch.device, precision: Precision) -> torch.dtype:
    """Return the format of the matrix products.

    "auto" is half precision where the device multiplies faster in it (see `half_format`), else
    fp32. Raises UserError for bf16 on a GPU without it.
    """
    if precision == "auto":
        return half_format(device) or torch.float32
    if precision == "bf16" and not has_bf16(device):
        raise UserError(f"this {device.type.upper()} device has no bf16: use --precision fp16")
    return FORMATS[precision]


def format_name(form: torch.dtype) -> str:
    """Return fp32, bf16 or fp16."""
    return next(name for name, known in FORMATS.items() if known == form)
