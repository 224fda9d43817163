"""The picture of a run: its training loss, raw and smoothed, and every evaluation metric."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from cellar import Fields, atomic_path, parse_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RAW, SMOOTH, HELD_OUT = "#c9d6e3", "#2b6cb0", "#dd6b20"


def draw_curve(log: Path, png: Path, title: str) -> None:
    """Write the picture of a run as PNG."""
    picture = io.BytesIO()
    curve_figure(log, title).savefig(picture, format="png", dpi=130)
    with atomic_path(png) as temporary:
        temporary.write_bytes(picture.getvalue())


def curve_figure(log: Path, title: str) -> "Figure":
    """Plot the run of `log` (a log.jsonl): a panel for the loss and one for each other metric.

    Raises:
        UserError: names the line that is no row of a run.
    """
    from matplotlib.figure import Figure

    training: dict[str, list[tuple[int, float]]] = {}
    held_out: dict[str, list[tuple[int, float]]] = {}
    with log.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = Fields(parse_json(line, f"{log}:{number}"), f"{log}:{number}")
            step, is_training = row.whole("step"), "evaluation" not in row
            values = row if is_training else row.fields("evaluation")
            for name in values.values:
                value = values.number(name, None) if name != "skipped" else None
                if value is not None:
                    (training if is_training else held_out).setdefault(name, []).append(
                        (step, value)
                    )
    panels = ["loss", *(name for name in held_out if name != "loss")]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for place, name in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        if name in training:
            steps, values = np.array(training[name], dtype=np.float64).T
            shown = slice(None, None, 1 + len(steps) // 5000)
            axes.plot(steps[shown], values[shown], color=RAW, linewidth=0.8)
            axes.plot(steps[shown], _smooth(values)[shown], color=SMOOTH, label="training")
        if name in held_out:
            steps, values = np.array(held_out[name], dtype=np.float64).T
            axes.plot(steps, values, "o-", color=HELD_OUT, markersize=3.5, label="evaluation")
        axes.set_xlabel("step")
        axes.set_ylabel(name.replace("_", " "))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.has_data():
            axes.legend(frameon=False)
    return figure


def _smooth(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Mean over a centred window of a fiftieth of the curve, shortened at its ends."""
    half = len(values) // 100
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    smoothed: Float[np.ndarray, "n"] = (sums[high] - sums[low]) / (high - low)
    return smoothed
