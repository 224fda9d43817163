"""Make the trials of a search: each is a run with other values, which may stop early.

A trial reports its score after each evaluation, at the share of its steps in tenths, so that runs
of different lengths are compared at the same place of their schedules. It is pruned, which means
that it stops early, where its best score so far is below the median of the others there: not in the
first five trials, and not in the first third of its steps.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from plainformer.base import UserError, atomic_folder, read_json, write_json
from plainformer.base.say import say
from plainformer.finetune.data.fingerprint import fingerprints
from plainformer.finetune.fit import Watch
from plainformer.finetune.length import with_length
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.run import refuse_model_folder, run_once
from plainformer.finetune.search.options import SearchConfig
from plainformer.finetune.search.report import BEST, Found, described, write_report
from plainformer.finetune.search.space import with_values
from plainformer.finetune.search.study import SCORE, Claim, SharedStudy
from plainformer.training import refuse_missing_trackers, training_device

RUNGS = 10
"""The parts of a run, at whose ends trials are compared."""
LEFT_OUT = ("checkpoints", "tensorboard", "wandb", ".*")


def run_trials(config: SearchConfig, quiet: bool = False) -> Found:
    """Make trials until there are `config.trials`, and report what was found."""
    refuse_model_folder(config)
    config = replace(config, max_length=with_length(config.given).max_length)
    training_device(config.training)
    refuse_missing_trackers(config.training.track)
    study = SharedStudy(config, fingerprints(config))
    while (claim := study.claim()) is not None:
        begun = "goes on with one that was left: " if claim.is_continued else ""
        say([f"trial {claim.trial.number}: {begun}{described(claim.trial.params)}"], quiet)
        try:
            ended = make(claim, config, study)
        except (KeyboardInterrupt, SystemExit):
            say([f"the same command goes on with the search in {config.out}"], quiet)
            raise
        say([f"trial {claim.trial.number}: {ended}"], quiet)
    with study.locked():
        return write_report(study.study, study.space, config.out)


def make(claim: Claim, config: SearchConfig, study: SharedStudy) -> str:
    """Make a trial, and record how it ended; return that in words.

    Raises:
        UserError: it failed, and no other trial has succeeded so far.
    """
    trial = claim.trial
    try:
        settings = with_values(config.given, study.space, trial.params)
        settings = replace(settings, out=claim.folder, resume=claim.is_continued)
        outcome = run_once(settings, quiet=True, watch=reporting(trial))
    except optuna.TrialPruned as stopped:
        with study.locked():
            study.end(claim, None, TrialState.PRUNED)
        return f"pruned {stopped}"
    except (UserError, torch.OutOfMemoryError) as error:
        reason = str(error).partition("\n")[0]
        with study.locked():
            study.end(claim, None, TrialState.FAIL, reason)
            if study.best() is None:
                raise UserError(f"trial {trial.number}: {reason}") from error
        return f"failed: {reason}"
    with study.locked():
        return finish(claim, outcome, study, config.out)


def reporting(trial: optuna.Trial) -> Watch:
    """Return a function that reports the scores of a trial, and stops it below the median."""
    reached = set[int]()

    def watch(share: float, score: float) -> None:
        rung = int(RUNGS * share + 1e-6)
        if rung not in reached:
            reached.add(rung)
            trial.report(score, rung)
            if rung < RUNGS and trial.should_prune():
                raise optuna.TrialPruned(f"after {share:.0%} of its steps")

    return watch


def finish(claim: Claim, outcome: Outcome, study: SharedStudy, out: Path) -> str:
    """Record the score of a trial; keep its run if it is the best so far."""
    name, score = outcome.metric.main
    if score != score:  # NaN: the score is not defined on these examples
        study.end(claim, None, TrialState.FAIL, f"its {name} is not defined")
        return f"failed: its {name} is not defined"
    best = study.best()
    if best is None or score > (best.value or 0.0):
        keep(claim.folder, out / BEST)
    study.study.set_user_attr(SCORE, name)
    study.end(claim, score, TrialState.COMPLETE)
    best = study.best()
    assert best is not None
    return f"{name} {score:.4f} (best: {best.value:.4f} of trial {best.number})"


def keep(run: Path, best: Path) -> None:
    """Copy a run in place of the best one so far."""
    with atomic_folder(best) as new:
        shutil.copytree(run, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        options = read_json(new / "options.json")
        write_json(new / "options.json", {**options, "out": str(best)})
