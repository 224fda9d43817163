"""Save and restore checkpoints: folders that appear complete or not at all.

    checkpoints/step-00000100/   model.safetensors, optimizer.safetensors, state.json, SHA256SUMS
    checkpoints/best/            model.safetensors, state.json, SHA256SUMS: the best evaluation yet

The tensors of a sharded model (fsdp) are gathered one by one, so that a checkpoint is the same for
any number of processes, and can be resumed on any other.

No random state is saved: the loop derives randomness and data from (seed, step). The best weights
are written before the checkpoint whose state names them, so a crash in between loses nothing.
Checksums detect damaged files (`sha256sum -c` checks them, too).
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from plainformer.base import (
    Fields,
    UserError,
    as_json,
    atomic_folder,
    checksum,
    clear_leftovers,
    from_json,
    read_json,
    remove_folder,
    write_json,
    write_text,
)
from plainformer.base.tensors import save_tensors
from plainformer.training.config import TrainingConfig
from plainformer.training.distributed import is_main
from plainformer.training.loss_scale import LossScale
from plainformer.training.optimizer import optimizer_tensors, restore_optimizer
from plainformer.training.parallel import assign, full_state_dict
from plainformer.training.spikes import Spikes

FORMAT = 2
SUMS = "SHA256SUMS"
MAY_DIFFER = {"keep", "checkpoint_every", "device", "on_spike", "track"}
MAY_DIFFER |= {"parallel", "compile", "activation_checkpointing"}
"""Settings that may differ in a resumed run."""


@dataclass
class State:
    """The state of a run after `step` steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    evaluated: int = 0
    """The step of the last evaluation."""
    last: dict[str, float] = field(default_factory=dict)
    evaluations_without_gain: int = 0
    log_bytes: int = 0
    speed_bytes: int = 0
    spikes: Spikes = field(default_factory=Spikes)
    loss_scale: LossScale = field(default_factory=LossScale)


def has_checkpoint(out: Path) -> bool:
    """Return whether the run in `out` has a checkpoint to resume from."""
    return any((out / "checkpoints").glob("step-*"))


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
        self._settings: dict[str, Any] = as_json(asdict(config))

    def save(self, state: State) -> None:
        """Write the checkpoint of `state.step`, then remove all but the last few."""
        weights = full_state_dict(tensors(self._model))
        moments = full_state_dict(optimizer_tensors(self._model, self._optimizer))
        if not is_main():
            return
        with atomic_folder(self._folder / f"step-{state.step:08d}") as folder:
            save_tensors(weights, folder / "model.safetensors")
            save_tensors(moments, folder / "optimizer.safetensors")
            self._finish(folder, state)
        past = [folder for folder in self._steps() if folder.name <= f"step-{state.step:08d}"]
        for old in past[: -self._keep]:
            remove_folder(old)  # atomically: a half deleted folder must not look like a checkpoint

    def save_best(self, state: State) -> None:
        """Save the weights as the best so far."""
        weights = full_state_dict(tensors(self._model))
        if not is_main():
            return
        with atomic_folder(self._folder / "best") as folder:
            save_tensors(weights, folder / "model.safetensors")
            self._finish(folder, state)

    def restore(self) -> State | None:
        """Restore model and optimizer from the newest checkpoint; return None without one.

        A damaged checkpoint is skipped with a warning. Raises UserError when all are damaged, for
        another model and for other settings.
        """
        if is_main():
            clear_leftovers(self._folder)
        damaged = []
        for folder in reversed(self._steps()):
            if _is_whole(folder):
                return self._load(folder)
            _warn(f"{folder} is damaged and skipped")
            damaged.append(folder.name)
        if damaged:
            raise UserError(
                f"no checkpoint in {self._folder} is whole ({', '.join(damaged)}): "
                f"delete {self._folder.parent} to begin anew"
            )
        return None

    def restore_best(self) -> None:
        """Load the best weights into the model."""
        with _of_this_model(self._folder / "best"):
            load_tensors(self._model, load_file(self._folder / "best" / "model.safetensors"))

    def _load(self, folder: Path) -> State:
        path = folder / "state.json"
        saved = Fields(read_json(path), path)
        if saved.whole("format") != FORMAT:
            raise UserError(
                f"{folder} has format {saved.whole('format')}, this version reads {FORMAT}"
            )
        state = from_json(State, saved.fields("state").values, f"{path}: state")
        self._refuse_other_settings(saved.fields("settings").values)
        with _of_this_model(folder):
            load_tensors(self._model, load_file(folder / "model.safetensors"))
            moments = load_file(folder / "optimizer.safetensors")
            restore_optimizer(self._model, self._optimizer, moments)
        if state.best_step is not None and not _is_whole(self._folder / "best"):
            _warn(
                f"{self._folder / 'best'} is damaged: the best is looked for among the later ones"
            )
            state.best_step, state.best = None, {}
        return state

    def _steps(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"))

    def _finish(self, folder: Path, state: State) -> None:
        content = {"format": FORMAT, "state": asdict(state), "settings": self._settings}
        write_json(folder / "state.json", content)
        write_text(folder / SUMS, _checksums(folder))

    def _refuse_other_settings(self, saved: Mapping[str, Any]) -> None:
        differing = [
            f"{name}={saved.get(name)}, not {value}"
            for name, value in self._settings.items()
            if name not in MAY_DIFFER and saved.get(name) != value
        ]
        if differing:
            raise UserError(
                f"the run in {self._folder.parent} was started with {'; '.join(differing)}: "
                "resume it with the same settings, or choose another folder"
            )


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of a model, with a tied tensor once, under its first name."""
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: t for name, t in state.items() if names.setdefault(id(t), name) == name}


def load_tensors(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Copy the result of `tensors` into `model`; raise RuntimeError if it does not fit."""
    own = tensors(model)
    if differing := own.keys() ^ saved.keys():
        raise RuntimeError(f"one has {', '.join(sorted(differing))}, the other has not")
    for name, tensor in own.items():
        assign(tensor, saved[name])


def _checksums(folder: Path) -> str:
    """Return the content of SHA256SUMS, in the format of `sha256sum`."""
    files = sorted(path for path in folder.glob("[!.]*") if path.name != SUMS)
    return "".join(f"{checksum(path)}  {path.name}\n" for path in files)


def _is_whole(folder: Path) -> bool:
    """Return whether the files of a checkpoint match their checksums."""
    try:
        return (folder / SUMS).read_bytes() == _checksums(folder).encode()
    except OSError:
        return False


def _warn(message: str) -> None:
    Console(stderr=True, quiet=not is_main()).print(
        message, style="yellow", markup=False, soft_wrap=True
    )


@contextmanager
def _of_this_model(folder: Path) -> Iterator[None]:
    """Turn the errors of tensors that do not fit into a UserError."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(
            f"{folder} is damaged ({error}): remove it to resume from another"
        ) from None
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())  # PyTorch's list, a line each and any number of them
        raise UserError(f"{folder} was saved from another model: {reason[:300]}") from error


@contextmanager
def full_disk(out: Path) -> Iterator[None]:
    """Turn the errors of a full disk, a quota or a size limit into a UserError."""
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
