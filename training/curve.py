"""Plot the training loss of a run, raw and smoothed, and every held-out metric."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plainformer.base import Fields, parse_json
from plainformer.base.figures import BLUE, ORANGE, PALE_BLUE, panels, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curve(log: Path, png: Path, title: str, loss_label: str = "loss") -> None:
    """Plot the run of `log`, and write the figure as PNG."""
    save_png(curve_figure(log, title, loss_label), png)


def curve_figure(log: Path, title: str, loss_label: str = "loss") -> "Figure":
    """Plot the run of `log` (a log.jsonl): a panel for the loss and one for each other metric.

    A metric that was measured once is written under the title. `loss_label` describes the loss.

    Raises:
        UserError: a line of the log cannot be read; the message names it.
    """
    training, held_out = read_log(log)
    once = {name: points[0][1] for name, points in held_out.items() if len(points) == 1}
    names = ["loss", *(name for name in held_out if name != "loss" and name not in once)]
    figure, found = panels(len(names), 5.2, 3.6)
    said = [f"held-out {name.replace('_', ' ')} {value:.4g}" for name, value in once.items()]
    figure.suptitle("\n".join([title, *said]), fontsize=11 if not said else 9)
    for name, axes in zip(names, found, strict=True):
        if name in training:
            steps, values = np.array(training[name], dtype=np.float64).T
            shown = slice(None, None, 1 + len(steps) // 5000)
            dots = "o-" if len(steps) == 1 else "-"
            axes.plot(steps[shown], values[shown], color=PALE_BLUE, linewidth=0.8)
            smooth = _smooth(values)[shown]
            label = "training, dropout on"
            axes.plot(steps[shown], smooth, dots, markersize=3.5, color=BLUE, label=label)
        if name in held_out:
            steps, values = np.array(held_out[name], dtype=np.float64).T
            label = "held-out, dropout off"
            axes.plot(steps, values, "o-", color=ORANGE, markersize=3.5, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel(loss_label if name == "loss" else name.replace("_", " "))
        if axes.has_data():
            axes.legend(frameon=False)
    return figure


Points = dict[str, list[tuple[int, float]]]
"""Metric -> (step, value) of each row that has it."""


def read_log(log: Path) -> tuple[Points, Points]:
    """Read the values of training steps and of evaluations.

    Raises:
        UserError: a line of the log cannot be read; the message names it.
    """
    training: Points = {}
    held_out: Points = {}
    with log.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = Fields(parse_json(line, f"{log}:{number}"), f"{log}:{number}")
            step, is_training = row.whole("step"), "evaluation" not in row
            values = row if is_training else row.fields("evaluation")
            for name in values.values:
                value = values.number(name, None) if name != "skipped" else None
                if value is not None:
                    found = training if is_training else held_out
                    found.setdefault(name, []).append((step, value))
    return training, held_out


def _smooth(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Average over a centred window of a fiftieth of the curve, shorter at both ends."""
    half = len(values) // 100
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: Float[np.ndarray, "n"] = (sums[high] - sums[low]) / (high - low)
    return smoothed
