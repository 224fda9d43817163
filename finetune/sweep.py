"""Fine-tune: in one run, or in several over seeds or folds.

`seeds` N: repeat the run with N seeds. A seed draws the new head, the order of the examples,
dropout, and the examples themselves with `per_label`. Differences smaller than the spread between
seeds are noise (Dodge et al. 2020, arXiv:2002.06305). `out` then holds the model with the best
validation score.

`folds` K: split the training examples into K folds with similar labels, and score each with a model
trained on the others. Nothing is selected on the fold that is scored, so the mean over the folds
estimates the score of the final model, which is trained on all examples in the same way for as many
epochs. Folds do not go with `seeds`.

Each run has a folder within `out`, and its scores are in `summary.json` once it is finished; a
resumed sweep does not repeat finished runs. Checkpoints are deleted at the end of their run.

A search over options is in `search/`.
"""

import math
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import (
    Fields,
    UserError,
    nan_to_null,
    plural,
    read_json,
    write_json,
)
from plainformer.base.say import say
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.fingerprint import fingerprints, refuse_changes, remember
from plainformer.finetune.data.split import folds
from plainformer.finetune.distillation import check_teachers
from plainformer.finetune.length import with_length
from plainformer.finetune.metrics import Table, rankable
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.promote import promote
from plainformer.finetune.run import (
    SUMMARY,
    refuse_model_folder,
    run_once,
    train_in_folder,
    training_examples,
)
from plainformer.training import (
    checkpoint,
    full_disk,
    is_main,
    local_indices,
    main_first,
    processes,
    run_folder,
    save_options,
    saved_options,
)

RESUMED_MAY_DIFFER = {"out", "resume", "seeds", *checkpoint.MAY_DIFFER}

Scores = dict[str, float]


@dataclass(frozen=True)
class Summary:
    """The result of several runs."""

    over: str
    """The difference between the runs: "seeds" or "folds"."""
    runs: dict[str, Scores]
    """The scores of each run, by the name of its folder; the main score first."""
    model: str
    """The folder of the run whose model `out` holds."""

    @property
    def score(self) -> float:
        """Return the mean of the main score."""
        return float(np.mean(next(iter(self.scores.values()))))

    @property
    def scores(self) -> dict[str, list[float]]:
        """Return the values of each score, one for each run."""
        every = list(self.runs.values())
        names = [name for name in every[0] if all(name in scores for scores in every)]
        return {name: [scores[name] for scores in every] for name in names}

    def tables(self) -> list[Table]:
        """Tabulate the spread of each score."""
        return [
            Table(
                f"scores over {len(self.runs)} {self.over}",
                ("score", "mean ± sd", "lowest – highest"),
                [(name, *format_spread(values)) for name, values in self.scores.items()],
            )
        ]

    def to_json(self) -> dict[str, Any]:
        """Return means, deviations and all values."""
        return {
            "over": self.over,
            "model": self.model,
            "scores": {name: spread(values) for name, values in self.scores.items()},
        }


def finetune(config: FinetuneConfig, quiet: bool = False) -> Outcome | Summary:
    """Fine-tune as `config` says: an `Outcome` of one run, or a `Summary` of several.

    `config.out` then holds one model with its tokenizer and task, `options.json`, `metrics.json`
    (on the validation examples), pictures, `log.jsonl` and `curve.png`; of one run also its
    `checkpoints/`, of several `summary.json` and a folder for each. The weights are those of the
    best validation score.

    Raises:
        UserError: the examples cannot be read or learned from, the model cannot be loaded, or the
            folder holds other runs.
    """
    is_sweep = config.seeds > 1 or config.folds
    with processes():
        local_indices(config.accumulate)
        quiet = quiet or not is_main()
        return sweep(config, quiet) if is_sweep else run_once(config, quiet)


def sweep(config: FinetuneConfig, quiet: bool = False) -> Summary:
    """Make several runs, and leave the best model and `summary.json` in `config.out`."""
    refuse_model_folder(config)
    check_teachers(config)
    config = with_length(config)
    with run_folder(config.out, "finetune"):
        with main_first():
            runs = Runs(config, quiet)
        summary = cross_validate(config, runs) if config.folds else over_seeds(config, runs)
        if is_main():
            promote(config.out / summary.model, config.out)
        runs.write(summary.to_json())
    return summary


class Runs:
    """The runs within `config.out`: each is made once, and recorded when it is finished."""

    def __init__(self, config: FinetuneConfig, quiet: bool) -> None:
        self.quiet = quiet
        self._config = config
        self._count = 0
        self._total = config.folds + 1 if config.folds else config.seeds
        self._finished: dict[str, Scores] = {}
        path = config.out / SUMMARY
        is_resumed = config.resume and path.exists()
        if is_resumed:
            saved_options(config, config.out, resume=True, may_differ=RESUMED_MAY_DIFFER)
            self._finished = read_runs(path)
        elif path.exists():
            raise UserError(
                f"{config.out} already holds several runs: --resume them, or choose another folder"
            )
        elif (config.out / "log.jsonl").exists():
            raise UserError(f"{config.out} holds a single run: choose another folder for several")
        self.data = fingerprints(config)
        if is_resumed:
            refuse_changes(self.data, config.out, config)

    def __call__(
        self, name: str, config: FinetuneConfig, run: Callable[[FinetuneConfig], Outcome]
    ) -> Scores:
        """Make the run `name` unless it is finished; return its scores."""
        self._count += 1
        folder = self._config.out / name
        if name not in self._finished:
            if not self.quiet:
                print(f"run {self._count} of {self._total}: {name}", file=sys.stderr)
            outcome = run(replace(config, out=folder))
            if outcome.num_cut and not (self.quiet or self._finished):
                cut = plural(outcome.num_cut, "training text was", "training texts were")
                print(f"{cut} cut to {outcome.max_length} tokens", file=sys.stderr)
            self._finished[name] = outcome.metric.scores() if outcome.metric.count else {}
            self.write({})
            if is_main():
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return self._finished[name]

    def write(self, summary: dict[str, Any]) -> None:
        """Write `summary`, the scores of all finished runs, and the options."""
        if not is_main():
            return
        out = self._config.out
        remember(self.data, out)
        save_options(replace(self._config, resume=False), out)
        with full_disk(out):
            write_json(out / SUMMARY, nan_to_null({**summary, "runs": self._finished}))


def over_seeds(config: FinetuneConfig, runs: Runs) -> Summary:
    """Run `config` with each seed."""

    def run(number: int) -> tuple[str, Scores]:
        seed = config.training.seed + number
        seeded = replace(config, seeds=1, training=replace(config.training, seed=seed))
        return f"seed-{seed}", runs(f"seed-{seed}", seeded, lambda c: run_once(c, runs.quiet))

    found = dict(map(run, range(config.seeds)))
    best = max(found, key=lambda name: rankable(first(found[name])))
    return Summary("seeds", found, best)


def first(scores: Scores) -> float:
    """Return the main score, by which models are chosen."""
    return next(iter(scores.values()))


def cross_validate(config: FinetuneConfig, runs: Runs) -> Summary:
    """Score each fold with a model trained on the others; then train on all examples."""
    kind = config.kind
    examples = training_examples(config)
    say(kind.remarks(config, examples), runs.quiet)
    task = replace(kind.fit(config, examples), columns=config.columns)
    settings = replace(config, select=False)
    parts = folds(examples, config.folds, config.training.seed)

    def run_on(trained_on: list[Any], held_out: list[Any]) -> Callable[[FinetuneConfig], Outcome]:
        def run(settings: FinetuneConfig) -> Outcome:
            return train_in_folder(task, trained_on, held_out, settings, runs.data, runs.quiet)

        return run

    found = {}
    for number in range(config.folds):
        trained_on = [e for e, part in zip(examples, parts, strict=True) if part != number]
        held_out = [e for e, part in zip(examples, parts, strict=True) if part == number]
        name = f"fold-{number + 1}"
        found[name] = runs(name, settings, run_on(trained_on, held_out))
    runs("all", settings, run_on(examples, []))
    return Summary("folds", found, "all")


def read_runs(path: Path) -> dict[str, Scores]:
    """Read the scores of the finished runs; raise `UserError` for an invalid file."""
    saved = Fields(read_json(path), path)
    if "runs" not in saved:
        raise saved.wrong("runs", "an object")
    runs = saved.fields("runs")
    every = {name: runs.fields(name) for name in runs.values}
    return {
        name: {score: scores.number(score, math.nan) for score in scores.values}
        for name, scores in every.items()
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, sample standard deviation (None for one value), and the values themselves."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "values": list(values)}


def format_spread(values: Sequence[float]) -> tuple[str, str]:
    """Format mean ± deviation, and lowest – highest; a dash where a value is not defined."""
    found = spread(values)
    if math.isnan(found["mean"]):
        return "–", "–"
    deviation = "" if found["sd"] is None else f" ± {found['sd']:.3f}"
    return f"{found['mean']:.3f}{deviation}", f"{min(values):.3f} – {max(values):.3f}"
