"""Plot several runs in one figure: held-out metrics, with the training loss in the background."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from plainformer.base.figures import panels, save_png
from plainformer.runs.run import Run

AXES = ("steps", "tokens", "seconds")
MAX_POINTS = 300


def draw_curves(runs: Sequence[Run], png: Path, by: str = "steps") -> None:
    """Write a figure with a panel for the loss and for each metric that all runs have.

    `by` is the horizontal axis, one of `AXES`.
    """
    shared = [name for name in first_metrics(runs) if all(run.values(name) for run in runs)]
    names = list(dict.fromkeys(["loss", *shared]))
    figure, found = panels(len(names), 5.6, 3.8)
    for name, axes in zip(names, found, strict=True):
        for number, run in enumerate(runs):
            x, colour = x_of_steps(run, by), f"C{number % 10}"
            points = run.values(name)
            if name == "loss" and (losses := run.training_losses()):
                steps, values = smoothed(losses)
                label = None if points else str(run.folder)
                axes.plot(x(steps), values, color=colour, linewidth=0.8, alpha=0.4, label=label)
            if points:
                steps, values = np.array(points, dtype=np.float64).T
                axes.plot(x(steps), values, "o-", color=colour, markersize=3, label=str(run.folder))
        axes.set_xlabel(by)
        axes.set_ylabel(name.replace("_", " "))
        if axes.get_legend_handles_labels()[0] and axes is found[0]:
            axes.legend(frameon=False, fontsize=8)
    save_png(figure, png)


def first_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the metrics of the first run that has an evaluation."""
    return next((list(run.evaluations[-1].metrics) for run in runs if run.evaluations), [])


def x_of_steps(run: Run, by: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from steps to steps, tokens read or seconds of training."""
    if by == "steps":
        return lambda steps: steps
    clock = np.array(run.clock(), dtype=np.float64)
    return lambda steps: np.interp(steps, clock[:, 0], clock[:, AXES.index(by)])


def smoothed(losses: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring losses, so that at most `MAX_POINTS` steps and losses are left."""
    parts = np.array_split(np.array(losses, dtype=np.float64), min(MAX_POINTS, len(losses)))
    steps, values = np.stack([part.mean(axis=0) for part in parts]).T
    return steps, values
