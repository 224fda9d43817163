"""Share the study of a search among processes, through its storage and its folder.

    OUT/study.json           the name of the study in its storage
    OUT/study.journal        the storage, unless another one is given
    OUT/trials/0007/         the run of trial 7
    OUT/trials/0007.lock     held by the process that makes it

A process claims and ends trials under the lock of OUT. A trial that is running, but whose lock is
free, was left by a process that is gone: it is marked as failed, and a new trial goes on with its
values and its folder, at most `MAX_CONTINUED` times.

With one process a study is a pure function of its seed: the sampler of trial n is seeded by
(seed, n), so a search that was stopped proposes what the unbroken one would have.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from plainformer.base import Fields, UserError, output_folder, read_json, write_json
from plainformer.base.scratch import try_lock
from plainformer.finetune.data.fingerprint import Fingerprints, refuse_changes, remember
from plainformer.finetune.search.options import SearchConfig
from plainformer.finetune.search.space import Choices, Dimension, value_of
from plainformer.training import checkpoint, full_disk, save_options, saved_options

MAKER = "search"
NAME, JOURNAL, TRIALS = "study.json", "study.journal", "trials"
CONTINUES, ERROR, SCORE = "continues", "error", "score"
"""Attributes: the trial that a trial goes on with, why it failed, and the name of the score."""
MAY_DIFFER = {"out", "trials", "storage", *checkpoint.MAY_DIFFER}
"""Options that may differ when a search goes on."""
MAX_CONTINUED = 3
SECONDS_FOR_SQLITE = 60

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Claim:
    """A trial that this process makes."""

    trial: optuna.Trial
    folder: Path
    lock: int
    """The open lock file."""
    is_continued: bool


class SharedStudy:
    """The study of a search, from which processes claim trials."""

    def __init__(self, config: SearchConfig, data: Fingerprints) -> None:
        """Create the study of a new folder, or open that of the search in it.

        Raises:
            UserError: the folder holds a search with other options or examples, or anything else,
                or the storage cannot be opened.
        """
        self._config, self._out, self.space = config, config.out, config.dimensions()
        options = config.without_place()
        with self.locked():
            saved = saved_options(options, self._out, resume=True, may_differ=MAY_DIFFER)
            if saved is not None:
                refuse_changes(data, self._out, config)
            self.study = self._open()
            (self._out / TRIALS).mkdir(exist_ok=True)
            remember(data, self._out)
            save_options(options, self._out)

    def _open(self) -> optuna.Study:
        path = self._out / NAME
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3, n_min_trials=3)
        with storage_of(self._config) as storage:
            if not path.exists():
                name = f"{self._out.resolve().name}-{secrets.token_hex(4)}"
                study = optuna.create_study(
                    storage=storage, study_name=name, pruner=pruner, direction="maximize"
                )
                study.enqueue_trial(self._given())
                write_json(path, {"study": name})
                return study
            name = Fields(read_json(path), path).text("study")
            try:
                return optuna.load_study(storage=storage, study_name=name, pruner=pruner)
            except KeyError:
                raise UserError(
                    f"the storage has no study {name}: give the --storage with which the search "
                    f"in {self._out} was begun"
                ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder; wait for other processes."""
        with full_disk(self._out), output_folder(self._out, MAKER, wait=True):
            yield

    def claim(self) -> Claim | None:
        """Go on with the trial of a process that is gone, or begin one; None where all are begun.

        The checkpoints and weights of finished trials are removed: the best run has a copy.
        """
        with self.locked():
            trials = self.study.get_trials()
            for trial in trials:
                if trial.state.is_finished():
                    remove_weights(self._folder_of(trial.number))
                elif trial.state == TrialState.RUNNING:
                    lock = hold(self._lock_of(trial.number))
                    if lock is not None:
                        self._give_up(trial, trials)
                        os.close(lock)
            trials = self.study.get_trials()
            begun = sum(is_begun(trial) for trial in trials)
            if begun >= self._config.trials and not any(map(is_to_continue, trials)):
                return None
            return self._begin(begun)

    def end(self, claim: Claim, score: float | None, state: TrialState, error: str = "") -> None:
        """Record how a trial ended, and release it."""
        if error:
            claim.trial.set_user_attr(ERROR, error)
        self.study.tell(claim.trial, score, state=state)
        self._lock_of(claim.trial.number).unlink(missing_ok=True)
        os.close(claim.lock)

    def best(self) -> FrozenTrial | None:
        """Return the finished trial with the best score; None before the first one."""
        done = self.study.get_trials(states=(TrialState.COMPLETE,))
        return max(done, key=lambda trial: trial.value or 0.0, default=None)

    def _begin(self, number: int) -> Claim:
        seed = np.random.SeedSequence((self._config.training.seed, number)).generate_state(1)
        self.study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
        trial = self.study.ask({name: distribution(d) for name, d in self.space.items()})
        folder = self._folder_of(trial.number)
        lock = hold(self._lock_of(trial.number))
        assert lock is not None
        past = trial.user_attrs.get(CONTINUES)
        if past is not None:
            for step, value in self.study.get_trials()[past].intermediate_values.items():
                trial.report(value, step)
            if self._folder_of(past).exists():
                self._folder_of(past).rename(folder)
        return Claim(trial, folder, lock, past is not None)

    def _give_up(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
        """Mark a trial as failed, and enqueue one that goes on with it."""
        times, first = 0, trial
        while (past := first.user_attrs.get(CONTINUES)) is not None:
            times, first = times + 1, trials[past]
        if times < MAX_CONTINUED:
            self.study.enqueue_trial(trial.params, user_attrs={CONTINUES: trial.number})
        self.study.tell(trial.number, state=TrialState.FAIL)
        self._lock_of(trial.number).unlink(missing_ok=True)

    def _given(self) -> dict[str, Any]:
        """Return the given values of the searched options, where they are in the space."""
        given = {name: value_of(self._config, d.field) for name, d in self.space.items()}
        return {n: value for n, value in given.items() if self.space[n].values.holds(value)}

    def _folder_of(self, number: int) -> Path:
        return self._out / TRIALS / f"{number:04d}"

    def _lock_of(self, number: int) -> Path:
        return self._out / TRIALS / f"{number:04d}.lock"


def is_begun(trial: FrozenTrial) -> bool:
    """Tell whether a trial counts: it was begun, and does not go on with another one."""
    return trial.state != TrialState.WAITING and CONTINUES not in trial.user_attrs


def is_to_continue(trial: FrozenTrial) -> bool:
    """Tell whether a trial waits to go on with one that was left."""
    return trial.state == TrialState.WAITING and CONTINUES in trial.user_attrs


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution of a dimension."""
    values = dimension.values
    if isinstance(values, Choices):
        return CategoricalDistribution(values.ends)
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.is_log)
    return FloatDistribution(values.low, values.high, log=values.is_log)


@contextmanager
def storage_of(config: SearchConfig) -> Iterator[BaseStorage]:
    """Open the storage of a study: a database for a URL, else a journal file.

    Its errors in the block become a `UserError`, without the URL, which may hold a password.
    """
    place = config.storage
    try:
        if place is not None and "://" in place:
            is_sqlite = place.startswith("sqlite")
            wait = {"connect_args": {"timeout": SECONDS_FOR_SQLITE}} if is_sqlite else {}
            yield RDBStorage(place, engine_kwargs=wait)
        else:
            yield JournalStorage(JournalFileBackend(str(place or config.out / JOURNAL)))
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the storage of the study cannot be opened: {reason}") from error


def hold(path: Path) -> int | None:
    """Open and lock a file; None where another process holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if try_lock(lock):
        return lock
    os.close(lock)
    return None


def remove_weights(folder: Path) -> None:
    """Remove the checkpoints and the weights of a run."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for weights in folder.glob("*.safetensors"):
        weights.unlink(missing_ok=True)
