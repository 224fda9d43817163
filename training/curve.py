"""Plot the training loss of a run, raw and smoothed, and every held-out metric."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plainformer.base import Fields, atomic_path, parse_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RAW, SMOOTH, HELD_OUT = "#c9d6e3", "#2b6cb0", "#dd6b20"


def draw_curve(log: Path, png: Path, title: str, loss_label: str = "loss") -> None:
    """Write the picture of a run as PNG."""
    picture = io.BytesIO()
    curve_figure(log, title, loss_label).savefig(picture, format="png", dpi=130)
    with atomic_path(png) as temporary:
        temporary.write_bytes(picture.getvalue())


def curve_figure(log: Path, title: str, loss_label: str = "loss") -> "Figure":
    """Plot the run of `log` (a log.jsonl): a panel for the loss and one for each other metric.

    A metric that was measured once is written under the title. `loss_label` describes the loss.

    Raises:
        UserError: names the line that is no row of a run.
    """
    from matplotlib.figure import Figure

    training, held_out = read_log(log)
    once = {name: points[0][1] for name, points in held_out.items() if len(points) == 1}
    panels = ["loss", *(name for name in held_out if name != "loss" and name not in once)]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), layout="constrained")
    said = [f"held-out {name.replace('_', ' ')} {value:.4g}" for name, value in once.items()]
    figure.suptitle("\n".join([title, *said]), fontsize=11 if not said else 9)
    for place, name in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        if name in training:
            steps, values = np.array(training[name], dtype=np.float64).T
            shown = slice(None, None, 1 + len(steps) // 5000)
            dots = "o-" if len(steps) == 1 else "-"
            axes.plot(steps[shown], values[shown], color=RAW, linewidth=0.8)
            smooth = _smooth(values)[shown]
            label = "training, dropout on"
            axes.plot(steps[shown], smooth, dots, markersize=3.5, color=SMOOTH, label=label)
        if name in held_out:
            steps, values = np.array(held_out[name], dtype=np.float64).T
            label = "held-out, dropout off"
            axes.plot(steps, values, "o-", color=HELD_OUT, markersize=3.5, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel(loss_label if name == "loss" else name.replace("_", " "))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.has_data():
            axes.legend(frameon=False)
    return figure


Points = dict[str, list[tuple[int, float]]]
"""Metric -> (step, value) of each row that has it."""


def read_log(log: Path) -> tuple[Points, Points]:
    """Read the values of training steps and of evaluations.

    Raises:
        UserError: names the line that is no row of a run.
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
    """Mean over a centred window of a fiftieth of the curve, shortened at its ends."""
    half = len(values) // 100
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: Float[np.ndarray, "n"] = (sums[high] - sums[low]) / (high - low)
    return smoothed
