"""Train several models, a stage each, in folders within that of a run, and keep one of them.

    run/stages.json      the scores of each finished stage
    run/round-0/ …       its folder, as a run of its own leaves it

A finished stage is not repeated when the run is resumed. Its checkpoints are deleted, and its model
is kept.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plainformer.base import Fields, UserError, nan_to_null, plural, read_json, write_json
from plainformer.base.say import say
from plainformer.finetune.data.fingerprint import FILE as DATA
from plainformer.finetune.data.fingerprint import Fingerprints, remember
from plainformer.finetune.metrics import Table, rankable
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.prediction.predictor import Predictor, encode_all, measure
from plainformer.finetune.promote import promote
from plainformer.finetune.task import AnyTask
from plainformer.training import full_disk, is_main, main_first, save_options

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

FILE = "stages.json"
SHOWN = 2
"""The number of scores that are shown of each stage."""

Train = Callable[[AnyTask, list[Any], list[Any], "FinetuneConfig", Fingerprints, bool], Outcome]
"""Task, training and validation examples, settings with the folder of the stage, fingerprints of
the run's files, quiet -> the outcome of a run (`finetune.run.train_in_folder`)."""


class Stages:
    """The stages of the run in `config.out`, each trained once by `train`."""

    def __init__(
        self,
        train: Train,
        held_out: list[Any],
        config: "FinetuneConfig",
        new: Fingerprints | None,
        quiet: bool,
    ) -> None:
        self.held_out, self.config, self.quiet = held_out, config, quiet
        self._train = train
        path = config.out / FILE
        if new is not None:
            with main_first():
                if any(config.out.glob("*/options.json")):
                    raise UserError(
                        f"{config.out} already holds a run: --resume it, or choose another folder"
                    )
            if is_main():
                remember(new, config.out)
            save_options(replace(config, resume=False), config.out)
        with main_first():
            self._data = read_json(config.out / DATA) if new is None else new
            self._finished = read_json(path) if new is None and path.exists() else {}

    def __contains__(self, name: str) -> bool:
        """Tell whether a stage is finished."""
        return name in self._finished

    def train(
        self, name: str, task: AnyTask, examples: list[Any], config: "FinetuneConfig"
    ) -> None:
        """Train the stage `name` with the settings `config`, unless it is finished."""
        if name in self:
            return
        say([f"{name}: {plural(len(examples), 'example')} to train on"], self.quiet)
        folder = self.config.out / name
        outcome = self._train(
            task, examples, self.held_out, replace(config, out=folder), self._data, self.quiet
        )
        scores = outcome.metric.scores() if outcome.metric.count else {}
        entry = {"examples": len(examples), "cut": outcome.num_cut, "scores": scores}
        self._finished[name] = nan_to_null(entry)
        if is_main():
            with full_disk(self.config.out):
                write_json(self.config.out / FILE, self._finished)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def best(self) -> str:
        """Return the stage with the best validation score; the last where none is chosen by it."""
        if not (self.config.select and self.held_out):
            return list(self._finished)[-1]
        main = {name: next(iter(self._scores(name).values())) for name in self._finished}
        return max(main, key=lambda name: rankable(main[name]))

    def keep(self, name: str) -> Outcome:
        """Copy the model of a stage to the folder of the run, and measure it."""
        out = self.config.out
        if is_main():
            promote(out / name, out)
        model = self.model(".")
        pairs = encode_all(model.task, model.tokenizer, self.held_out)
        metric = measure(model.task, model.model, pairs)
        cut = Fields(self._finished[name], out / FILE).whole("cut")
        return Outcome(None, metric, cut, model.task.max_length, (), (self.table(),))

    def model(self, name: str) -> Predictor:
        """Load the model of a stage."""
        with main_first():  # which has written it
            return Predictor.load(self.config.out / name, self.config.training.device)

    def table(self) -> Table:
        """Tabulate the first scores of all finished stages; `stages.json` has all of them."""
        names = list(self._finished)
        shown = list(self._scores(names[0]))[:SHOWN]
        rows = [
            (
                name,
                self._finished[name]["examples"],
                *(self._scores(name)[score] for score in shown),
            )
            for name in names
        ]
        return Table("stages", ("stage", "examples", *shown), rows)

    def _scores(self, name: str) -> dict[str, float]:
        found = Fields(self._finished[name], self.config.out / FILE).fields("scores")
        return {score: found.number(score, math.nan) for score in found.values}
