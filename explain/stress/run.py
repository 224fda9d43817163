"""Stress-test the model in a folder on labelled examples: what `plainformer stress` prints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import UserError, nan_to_null, plural, write_json
from plainformer.explain.attribution import Explainer
from plainformer.explain.groups import Groups, groups_of
from plainformer.explain.stress.effects import Effect, effects_of
from plainformer.explain.stress.gains import can_flip
from plainformer.explain.stress.measure import Settings, measure
from plainformer.explain.stress.page import write_page
from plainformer.explain.stress.report import EVERY, Shown, as_json, examples_of, tables_of
from plainformer.finetune.data.examples import source_rows
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.metrics import Table
from plainformer.finetune.prediction.predictor import Predictor


@dataclass(frozen=True)
class Stressed:
    """The result of a stress test."""

    folders: tuple[Path, ...]
    data: str
    settings: Settings
    metric: str
    """The name of the score: the first of the task's metric."""
    examples: int
    effects: list[Effect]
    shown: list[Shown]
    notes: list[str]

    @property
    def tables(self) -> list[Table]:
        """Return the table of each model."""
        return tables_of(self.effects, names_of(self.folders), self.metric)

    @property
    def about(self) -> str:
        """Say what was measured, in one sentence."""
        models = " beside ".join(names_of(self.folders))
        share = f"{100 * self.settings.strength:g} %"
        count = plural(self.examples, "example")
        return f"{models}: {self.metric} of {count}, {share} of the words changed"

    def write(self, path: Path) -> None:
        """Write the report as JSON or as a page, by the ending of the file."""
        if path.suffix.lower() == ".json":
            about = {
                "models": [str(folder) for folder in self.folders],
                "data": self.data,
                "metric": self.metric,
                "examples": self.examples,
                "strength": self.settings.strength,
                "seed": self.settings.seed,
                "notes": self.notes,
            }
            write_json(path, nan_to_null(as_json(self.effects, self.shown, about)))
        else:
            title = f"What changes do to {names_of(self.folders)[0]}"
            lead = "; ".join([self.about, *self.notes])
            write_page(path, title, lead, self.tables, self.shown)


def stress(
    folders: Sequence[Path],
    data: str,
    settings: Settings,
    *,
    columns: Sequence[str] = (),
    group: str | None = None,
    smallest: int = 20,
    limit: int = 500,
    quiet: bool = False,
) -> Stressed:
    """Measure the model in a folder, or two beside each other, on changed examples.

    Raises `UserError` for a folder without a model, models of different tasks, examples that cannot
    be read, and what `measure` refuses.
    """
    predictors = [Explainer.load(folder).predictor for folder in folders]
    refuse_others(folders, predictors)
    examples, groups = read(predictors[0], data, columns, group, limit, settings.seed)
    members, notes = {EVERY: np.arange(len(examples))}, list[str]()
    if group is not None:
        large = groups.large(smallest)
        if EVERY in large:
            raise UserError(f"the column {group} has a group named {EVERY!r}: give it another name")
        numbers = groups.numbers(large)
        members |= {name: np.flatnonzero(numbers == n) for n, name in enumerate(large)}
        if len(large) < len(groups.counts):
            notes.append(
                f"too small, with fewer than {smallest} rows: "
                f"{plural(len(groups.counts) - len(large), 'group')}"
            )
    if "hotflip" in settings.kinds and not all(can_flip(each.model) for each in predictors):
        notes.append("without hotflip: the model has no gradients to follow")
        settings = replace(settings, kinds=tuple(k for k in settings.kinds if k != "hotflip"))
    measured = measure(predictors, examples, settings, quiet)
    found = [one for one in measured if one.models[0].changed.any()]
    if idle := sorted({one.kind for one in measured} - {one.kind for one in found}):
        notes.append(f"nothing to change: {', '.join(idle)}")
    return Stressed(
        folders=tuple(folders),
        data=data,
        settings=settings,
        metric=predictors[0].task.monitor,
        examples=len(examples),
        effects=effects_of(found, members, settings.seed, quiet),
        shown=examples_of(found),
        notes=notes,
    )


def read(
    predictor: Predictor,
    data: str,
    columns: Sequence[str],
    group: str | None,
    limit: int,
    seed: int,
) -> tuple[list[Any], Groups]:
    """Read examples and their groups; of more than `limit` a random sample, in order."""
    kind = type(predictor.task)
    rows = [*bounded(source_rows(kind, data, "test", kind.naming(columns, predictor.task.columns)))]
    if not rows:
        raise UserError(f"{data} has no examples")
    examples = [kind.read(row) for row in rows]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:limit]).tolist()
    names = [] if group is None else [group]
    (groups,) = groups_of(names, [rows[n] for n in chosen]) or [Groups(())]
    return [examples[n] for n in chosen], groups


def refuse_others(folders: Sequence[Path], predictors: Sequence[Predictor]) -> None:
    """Raise `UserError` for models of different tasks or labels."""
    tasks = [predictor.task for predictor in predictors]
    kinds = [(type(task), sorted(getattr(task, "labels", ()))) for task in tasks]
    if kinds[0] != kinds[-1]:
        raise UserError(f"{folders[-1]} has another task, or other labels, than {folders[0]}")


def names_of(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders."""
    return [folder.name or folder.resolve().name for folder in folders]
