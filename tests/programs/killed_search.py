"""A search that is killed after the first step of its second trial; its argument is the options."""

import os
import signal
import sys
from pathlib import Path

import pytest

from plainformer.finetune.search import SearchConfig, run_search
from plainformer.options import load
from plainformer.training.checkpoint import Checkpoints, State

saved = 0
save = Checkpoints.save


def save_and_die(self: Checkpoints, state: State) -> None:
    """Save, and kill this process at the first checkpoint of the second trial."""
    global saved
    save(self, state)
    saved += state.step == 1
    if saved == 2:
        os.kill(os.getpid(), signal.SIGKILL)


pytest.MonkeyPatch().setattr(Checkpoints, "save", save_and_die)
run_search(load(SearchConfig, Path(sys.argv[1])), quiet=True)
