"""Each process that torchrun starts of this goes through the same runs: their options as files."""

import sys
from pathlib import Path

import torch

import training.record
from plainformer.options import load
from pretrain import PretrainConfig, pretrain
from tests.pretrain import tiny  # noqa: F401 (its presets)

if __name__ == "__main__":
    torch.set_num_threads(1)
    training.record.draw_curve = lambda *_: None
    for options in sys.argv[1:]:
        pretrain(load(PretrainConfig, Path(options)), quiet=True)
