"""Pretrain with the options in a file into another folder, and be killed at step 63.

python -m tests.programs.killed_pretraining OPTIONS OUT
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.options import load
from plainformer.pretrain import MaskedBatches, PretrainConfig, pretrain
from tests.pretrain import tiny  # noqa: F401 (for its preset)

call = MaskedBatches.__call__


def batches(self: MaskedBatches, step: int) -> Any:
    if step == 63:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(self, step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    pytest.MonkeyPatch().setattr(MaskedBatches, "__call__", batches)
    options, out = map(Path, sys.argv[1:])
    pretrain(replace(load(PretrainConfig, options), out=out), quiet=True)
