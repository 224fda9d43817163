"""Name the accelerator of this machine, and the number formats that it has.

| accelerator                         | half precision by default |
|-------------------------------------|---------------------------|
| CUDA, compute capability 8 and more | bf16                      |
| CUDA, compute capability 7 (V100, T4) | fp16                    |
| XPU (Intel)                         | bf16, else fp16           |
| MPS (Apple)                         | none                      |

Older GPUs multiply no faster in half precision. Those of Apple do not either, and lack float64.
"""

import torch


def accelerator() -> str | None:
    """Return cuda, mps or xpu, whichever this machine has and this build of torch can use."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found is not None and found.type in ("cuda", "mps", "xpu") else None


def half_format(device: torch.device) -> torch.dtype | None:
    """Return the half precision that `device` multiplies faster than fp32; None without one."""
    if device.type == "xpu":
        return torch.bfloat16 if has_bf16(device) else torch.float16
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.bfloat16 if has_bf16(device) else torch.float16
    return None


def has_bf16(device: torch.device) -> bool:
    """Return whether `device` computes in bf16; a CPU always does, some slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "xpu":
        return torch.xpu.is_bf16_supported(including_emulation=False)
    return device.type != "mps" or torch.backends.mps.is_macos_or_newer(14, 0)


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or the widest that `device` has."""
    return torch.float32 if device.type == "mps" else torch.float64
