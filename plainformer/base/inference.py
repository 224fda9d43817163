"""Define the options of every command that predicts: the device, the number format, int8."""

import re
from dataclasses import dataclass
from typing import Literal

from plainformer.base.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""Name of a number format; auto: the one that suits the device."""

DEVICES = r"cpu|(?:cuda|mps|xpu)(?::\d{1,3})?"
"""The accepted names of devices."""


def check_device_name(name: str) -> None:
    """Raise `UserError` for a name that no device has."""
    if not re.fullmatch(f"auto|{DEVICES}", name):
        raise UserError(f"device must be auto, cpu, cuda, cuda:1, mps, xpu …, not {name[:40]!r}")


@dataclass(frozen=True)
class Inference:
    """The device and the number format of inference."""

    device: str = "auto"
    """Compute on this device: auto (a GPU if there is one: CUDA, MPS of Apple, XPU of Intel), cpu,
    cuda, cuda:1, mps, xpu …"""

    precision: Precision = "auto"
    """Number format of the weights. auto: bf16 on a GPU that has it, fp16 on CUDA of compute
    capability 7 (T4, V100), else fp32."""

    int8: bool = False
    """Quantize the matrices of the blocks to int8: faster on a CPU. `evaluate --int8` shows the
    effect on the scores."""

    def __post_init__(self) -> None:
        """Raise `UserError` for values that contradict each other."""
        check_device_name(self.device)
        if self.int8:
            if self.device not in ("auto", "cpu"):
                raise UserError(f"int8 is for CPUs: leave out --int8, or --device {self.device}")
            if self.precision not in ("auto", "fp32"):
                raise UserError(f"--int8 and --precision {self.precision}: choose one of them")


AUTO = Inference()
