"""Fine-tune with the options in a file, and be killed at the 27th training batch.

python -m tests.programs.killed_finetuning OPTIONS
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.finetune import FinetuneConfig, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.options import load

to = Batch.to
training_batches: list[Any] = []


def counted(self: Any, device: Any) -> Any:
    if torch.is_grad_enabled():  # off in an evaluation
        training_batches.append(self)
    if len(training_batches) == 27:
        os.kill(os.getpid(), signal.SIGKILL)
    return to(self, device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    pytest.MonkeyPatch().setattr(Batch, "to", counted)
    finetune(load(FinetuneConfig, Path(sys.argv[1])), quiet=True)
