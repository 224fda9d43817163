"""Train the toy model, and be killed at a step, or between the two files of a checkpoint.

python -m tests.programs.killed_training OUT step|save STEP
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.training import checkpoint
from tests.training import toy


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def batches(step: int) -> Any:
    if step == when:
        if where == "step":
            die()
        # Dies after the weights, before the optimizer.
        pytest.MonkeyPatch().setattr(checkpoint, "save_tensors", die)
    return toy.batches(step)


if __name__ == "__main__":
    out, where, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    toy.run(out, batches=batches)
