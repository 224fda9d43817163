"""Checkpoints: folders that appear whole or not at all, from which a run goes on bit for bit.

    checkpoints/step-00000100/   model.safetensors, optimizer.safetensors, state.json
    checkpoints/best/            model.safetensors, state.json: the best evaluation so far

There is no random state to keep: the loop derives randomness and data from (seed, step). The best
is written before the checkpoint that speaks of it, so whatever is lost in between is done again.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from cellar import UserError, atomic_folder, write_json
from training.config import TrainingConfig
from training.optimizer import optimizer_tensors, restore_optimizer

FORMAT = 1
HARMLESS = {"keep", "checkpoint_every", "device"}  # settings that do not change what is learned


@dataclass
class State:
    """Where a run stands after `step` steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    evaluations_without_gain: int = 0
    log_bytes: int = 0
    speed_bytes: int = 0


class Checkpoints:
    """The checkpoints of one run: of its model, its optimizer and its state."""

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: TrainingConfig,
    ) -> None:
        self._folder, self._model, self._optimizer = folder, model, optimizer
        self._keep = config.keep
        self._settings: dict[str, Any] = json.loads(json.dumps(asdict(config)))

    def save(self, state: State) -> None:
        """Write the checkpoint of `state.step`, then drop those older than the last few."""
        with atomic_folder(self._folder / f"step-{state.step:08d}") as folder:
            save_model(self._model, str(folder / "model.safetensors"))
            tensors = optimizer_tensors(self._model, self._optimizer)
            save_file(tensors, folder / "optimizer.safetensors")
            self._write_state(folder, state)
        for old in self._steps()[: -self._keep]:
            # Renamed first: a checkpoint that is half deleted must not look like one.
            shutil.rmtree(old.rename(old.with_name(f".{old.name}.old")))

    def save_best(self, state: State) -> None:
        """Keep the weights as the best so far."""
        with atomic_folder(self._folder / "best") as folder:
            save_model(self._model, str(folder / "model.safetensors"))
            self._write_state(folder, state)

    def restore(self) -> State | None:
        """Bring model and optimizer back to the newest checkpoint; None when there is none.

        Raises UserError for a damaged checkpoint, for another model and for other settings.
        """
        for leftover in self._folder.glob(".*"):
            shutil.rmtree(leftover)
        steps = self._steps()
        if not steps:
            return None
        with _readable(steps[-1]):
            saved = json.loads((steps[-1] / "state.json").read_text(encoding="utf-8"))
            if saved["format"] != FORMAT:
                raise UserError(f"{steps[-1]} has format {saved['format']}, this reads {FORMAT}")
            self._refuse_other_settings(saved["settings"])
            tensors = load_file(steps[-1] / "optimizer.safetensors")
            load_model(self._model, steps[-1] / "model.safetensors")
            restore_optimizer(self._model, self._optimizer, tensors)
            return State(**saved["state"])

    def restore_best(self) -> None:
        """Give the model its best weights."""
        with _readable(self._folder / "best"):
            load_model(self._model, self._folder / "best" / "model.safetensors")

    def _steps(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"))

    def _write_state(self, folder: Path, state: State) -> None:
        content = {"format": FORMAT, "state": asdict(state), "settings": self._settings}
        write_json(folder / "state.json", content)

    def _refuse_other_settings(self, saved: dict[str, Any]) -> None:
        differing = [
            f"{name}={saved.get(name)}, not {value}"
            for name, value in self._settings.items()
            if name not in HARMLESS and saved.get(name) != value
        ]
        if differing:
            raise UserError(
                f"the run in {self._folder.parent} was started with {'; '.join(differing)}: "
                "resume it with the same settings, or choose another folder"
            )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say which checkpoint is at fault when it cannot be read."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())  # PyTorch's list, a line each and any number of them
        raise UserError(f"{folder} was saved from another model: {reason[:300]}") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} is damaged ({error}): delete it to go on from the one before it"
        ) from error


@contextmanager
def full_disk(out: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a quota or a size limit into one message."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError):
            number = error.errno
        else:
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else None
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"no space left to write in {out} ({os.strerror(number)}): what was saved before "
                "is intact; make room, then resume"
            ) from error
        raise
