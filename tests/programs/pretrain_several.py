"""Pretrain once for each file of options, in each process that torchrun starts.

python -m tests.programs.pretrain_several OPTIONS …
"""

import sys
from pathlib import Path

import pytest
import torch

from plainformer.options import load
from plainformer.pretrain import PretrainConfig, pretrain
from tests.pretrain import tiny  # noqa: F401 (its presets)

if __name__ == "__main__":
    torch.set_num_threads(1)
    pytest.MonkeyPatch().setattr("plainformer.training.run_log.draw_curve", lambda *_: None)
    for options in sys.argv[1:]:
        pretrain(load(PretrainConfig, Path(options)), quiet=True)
