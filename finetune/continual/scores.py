"""Measure what is kept of each task while others are learned (Lopez-Paz and Ranzato 2017).

    R[k, j]         the score of task j after step k, which learned task k
    mean[k]       = 1/k     Σ_{j ≤ k} R[k, j]
    forgetting[k] = 1/(k−1) Σ_{j < k} (R[j, j] − R[k, j])

Forgetting is what earlier tasks lost since each was learned: their negative backward transfer
(arXiv:1706.08840, eq. 3); below 0, they gained.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plainformer.base import Fields, read_json
from plainformer.base.figures import panel, user_text_style
from plainformer.finetune.metrics import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SequenceScores:
    """The main score of each task after each step of a sequence."""

    tasks: tuple[str, ...]
    """The names of the tasks learned so far, in order."""
    measures: Mapping[str, str]
    """The name of the main score of each task."""
    rows: Sequence[Mapping[str, float]]
    """The scores after each step, by the name of the task: R[k, j]."""

    @classmethod
    def read(cls, files: Sequence[Path]) -> "SequenceScores":
        """Read the scores after each step, {task: {measure: score}}, from a file for each."""
        rows: list[dict[str, float]] = []
        measures: dict[str, str] = {}
        for file in files:
            tasks = Fields(read_json(file), file)
            rows.append({})
            for name in tasks.values:
                ((measure, score),) = tasks.fields(name).values.items()
                rows[-1][name] = math.nan if score is None else float(score)
                measures[name] = measure
        return cls(tuple(measures), measures, rows)

    def mean(self, step: int) -> float:
        """Return the mean score of the tasks learned by `step` (from 0)."""
        return float(np.mean(list(self.rows[step].values())))

    def forgetting(self, step: int) -> float:
        """Return the mean loss in score of the tasks learned before `step`; NaN for the first."""
        lost = [self.rows[j][self.tasks[j]] - self.rows[step][self.tasks[j]] for j in range(step)]
        return float(np.mean(lost)) if lost else math.nan

    def table(self) -> Table:
        """Tabulate a row of scores for each step, with their mean and what was forgotten."""
        columns = ("after", *(f"{name}: {self.measures[name]}" for name in self.tasks))
        rows: list[tuple[str | float, ...]] = [
            (
                self.tasks[step],
                *(row.get(name, math.nan) for name in self.tasks),
                self.mean(step),
                self.forgetting(step),
            )
            for step, row in enumerate(self.rows)
        ]
        return Table("scores after each task", (*columns, "mean", "forgetting"), rows)

    def to_json(self) -> dict[str, Any]:
        """Return the scores after each step, their means and what was forgotten."""
        steps = range(len(self.rows))
        return {
            "tasks": {name: self.measures[name] for name in self.tasks},
            "after": {self.tasks[step]: dict(self.rows[step]) for step in steps},
            "mean": [self.mean(step) for step in steps],
            "forgetting": [self.forgetting(step) for step in steps if step],
        }

    def figure(self) -> "Figure":
        """Draw a line for each task, from the step that learned it on."""
        figure, axes = panel(5.0, 3.4)
        for number, name in enumerate(self.tasks):
            steps = range(number, len(self.rows))
            values = [self.rows[step][name] for step in steps]
            axes.plot(steps, values, marker="o", label=f"{name} ({self.measures[name]})")
        axes.set_xticks(range(len(self.tasks)), self.tasks, **user_text_style())
        axes.set_xlabel("after learning")
        axes.set_ylabel("score")
        legend = axes.legend(frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set(**user_text_style())
        return figure
