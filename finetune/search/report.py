"""Report the trials of a search: a table, the importance of the options, and a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from plainformer.base import UserError, nan_to_null, write_json
from plainformer.base.figures import BLUE, GREY, ORANGE, panels, save_png
from plainformer.finetune.metrics import Table
from plainformer.finetune.run import SUMMARY
from plainformer.finetune.search.space import Choices, Dimension, Space
from plainformer.finetune.search.study import CONTINUES, ERROR, SCORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = "best"
"""The folder of the best run."""
PICTURE = "search.png"
STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
MIN_FOR_IMPORTANCE = 10
"""The fewest finished trials from which importance is estimated."""


@dataclass(frozen=True)
class Tried:
    """A trial: the values of the searched options, and the validation score."""

    number: int
    state: str
    score: float
    """The score; of a pruned trial its last one, and NaN without any."""
    values: Mapping[str, Any]
    error: str = ""
    """The reason why it failed."""


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    score_name: str
    trials: tuple[Tried, ...]
    """The trials, finished ones first, the best of them at the head."""
    importance: Mapping[str, float]
    """The share of each option in the differences between scores; empty for few trials."""

    @property
    def best(self) -> Tried:
        """Return the trial with the best score."""
        return self.trials[0]

    def tables(self) -> list[Table]:
        """Tabulate the trials, and the importance of the options."""
        names = tuple(self.best.values)
        rows: list[tuple[str | float, ...]] = [
            (str(t.number), t.state, t.score, *(shown(t.values.get(name, "")) for name in names))
            for t in self.trials
        ]
        trials = Table(
            "trials", ("trial", "", *(n.replace("_", " ") for n in (self.score_name, *names))), rows
        )
        if not self.importance:
            return [trials]
        shares = [(name, f"{share:.0%}") for name, share in self.importance.items()]
        return [trials, Table("importance of the options", ("option", "importance"), shares)]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {
            "score": self.score_name,
            "best": self.best.number,
            "importance": dict(self.importance),
            "trials": [vars(trial) | {"values": dict(trial.values)} for trial in self.trials],
        }


def write_report(study: optuna.Study, space: Space, out: Path) -> Found:
    """Write the trials to `out`/summary.json, and draw them.

    Raises:
        UserError: no trial has finished.
    """
    found = found_in(study)
    write_json(out / SUMMARY, nan_to_null(found.to_json()))
    save_png(figure_of(found, space), out / PICTURE)
    return found


def found_in(study: optuna.Study) -> Found:
    """Collect the trials of a study; those that another one goes on with are left out."""
    trials = study.get_trials()
    replaced = {trial.user_attrs.get(CONTINUES) for trial in trials}
    tried = [
        Tried(t.number, STATES[t.state], score_of(t), t.params, t.user_attrs.get(ERROR, ""))
        for t in trials
        if t.number not in replaced and t.state != TrialState.WAITING
    ]
    done = sum(trial.state == "done" for trial in tried)
    if not done:
        faults = [trial.error for trial in tried if trial.error]
        raise UserError(f"no trial has finished{f': {faults[0]}' if faults else ' yet'}")
    importance: Mapping[str, float] = {}
    if done >= MIN_FOR_IMPORTANCE:
        importance = optuna.importance.get_param_importances(study)
    tried.sort(key=lambda t: (t.state != "done", t.score != t.score, -t.score, t.number))
    return Found(study.user_attrs.get(SCORE, "score"), tuple(tried), importance)


def score_of(trial: FrozenTrial) -> float:
    """Return the score of a trial, or the last one that it reported."""
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values.get(trial.last_step or 0, float("nan"))


def described(values: Mapping[str, Any]) -> str:
    """Write the values of options in a line."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """Write a value as it is given on the command line, numbers to three digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def figure_of(found: Found, space: Space) -> "Figure":
    """Plot the score by each option: finished trials, pruned ones, and the best."""
    figure, found_axes = panels(len(space), 3.4, 3.0)
    for (name, dimension), axes in zip(space.items(), found_axes, strict=True):
        share = found.importance.get(name)
        title = name.replace("_", " ")
        axes.set_title(title if share is None else f"{title} (importance {share:.0%})", fontsize=10)
        place = places_on(axes, dimension)
        for state, marker, colour in (("done", "o", BLUE), ("pruned", "x", GREY)):
            some = [t for t in found.trials if t.state == state and name in t.values]
            x, y = [place(t.values[name]) for t in some], [t.score for t in some]
            axes.scatter(x, y, s=22, marker=marker, color=colour, label=state)
        best = found.best
        axes.scatter(
            [place(best.values[name])], [best.score], s=70, marker="*", color=ORANGE, label="best"
        )
    found_axes[0].set_ylabel(found.score_name.replace("_", " "))
    found_axes[0].legend(frameon=False, fontsize=8)
    return figure


def places_on(axes: "Axes", dimension: Dimension) -> Any:
    """Prepare the axis of a dimension; return the function from a value to its place on it."""
    values = dimension.values
    if isinstance(values, Choices):
        axes.set_xticks(range(len(values.ends)), [shown(value) for value in values.ends])
        axes.set_xlim(-0.5, len(values.ends) - 0.5)
        return values.ends.index
    if values.is_log:
        axes.set_xscale("log")
    return float
