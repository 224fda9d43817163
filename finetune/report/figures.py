"""Draw the figures of a metric: confusion matrix, ROC curves, calibration, true against predicted.

A task with a metric of its own registers its figures: `@figures.register(ItsMetric)`.
"""

import re
from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from plainformer.base import plural
from plainformer.base.figures import BLUE, GREY, panel, user_text_style
from plainformer.finetune.metrics import ClassMetric, LabelsMetric, Metric, NumberMetric
from plainformer.finetune.metrics.base import spoken
from plainformer.finetune.metrics.roc import StreamingROC
from plainformer.finetune.tasks.tagging.entities import DASH, NOTHING, Counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COUNTS = 30
"""The most labels for which a confusion matrix shows counts."""
MAX_CURVES = 10
"""The most ROC curves in a figure."""
MAX_POINTS = 2000
"""The most points in a scatter plot."""
MAX_CHARACTERS = 24
"""The most characters of a label in a figure."""
SQUARE = 5.0, 4.6


@singledispatch
def figures(metric: Metric) -> dict[str, "Figure"]:
    """Draw the figures of a metric, by name; by default none."""
    return {}


@figures.register(ClassMetric)
def _(metric: ClassMetric) -> dict[str, "Figure"]:
    title = f"accuracy {metric.accuracy:.1%}, {plural(metric.count, 'text')}"
    return {
        "confusion": confusion_figure(metric.labels, metric.confusion, title),
        "roc": roc_figure(metric.labels, metric.roc),
        "calibration": calibration_figure(metric.calibration, metric.calibration_error),
    }


@figures.register(LabelsMetric)
def _(metric: LabelsMetric) -> dict[str, "Figure"]:
    return {"roc": roc_figure(metric.labels, metric.roc)}


@figures.register(NumberMetric)
def _(metric: NumberMetric) -> dict[str, "Figure"]:
    step = -(-metric.count // MAX_POINTS)
    title = f"Spearman {metric.scores()['spearman']:.3f}, {plural(metric.count, 'text')}"
    return {"scatter": scatter_figure(metric.true[::step], metric.predicted[::step], title)}


@figures.register(Counted)
def _(metric: Counted) -> dict[str, "Figure"]:
    names = metric.names
    if not names:
        return {}
    if any(NOTHING in pair for pair in metric.confusion):
        names = [*names, NOTHING]
    counts: Int64[np.ndarray, "names names"] = np.array(
        [[metric.confusion[true, said] for said in names] for true in names], np.int64
    )
    score, value = metric.main
    shown = [name or DASH for name in names]
    return {"confusion": confusion_figure(shown, counts, f"{score} {value:.1%}")}


def confusion_figure(
    labels: Sequence[str], confusion: Int64[np.ndarray, "labels labels"], title: str
) -> "Figure":
    """Plot the fraction of each true label by predicted label, with counts where they fit."""
    size = 2.2 + 0.75 * min(len(labels), MAX_COUNTS)
    figure, axes = panel(size + 0.6, size)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    counts = confusion if len(labels) <= MAX_COUNTS else confusion[:0]
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if fractions[i, j] > 0.5 else "black"
        axes.text(j, i, f"{count}", ha="center", va="center", color=colour)
    ticks = range(len(labels))
    names = [shortened(label) for label in labels]
    axes.set_xticks(ticks, names, rotation=30, ha="right", **user_text_style())
    axes.set_yticks(ticks, names, **user_text_style())
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, shrink=0.75, label="fraction of the true label")
    return figure


def roc_figure(labels: Sequence[str], roc: StreamingROC) -> "Figure":
    """Plot the true against the false positive rate, one curve per label."""
    figure, axes = panel(*SQUARE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    lines, names = [], []
    for number, (label, area) in enumerate(zip(labels[:MAX_CURVES], roc.areas(), strict=False)):
        lines += axes.plot(*roc.curve(number))
        names.append(f"{shortened(label)} ({spoken(area)})")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_title("ROC, and the area under it")
    legend = axes.legend(lines, names, loc="lower right", frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set(**user_text_style())
    return figure


def calibration_figure(calibration: Float64[np.ndarray, "3 bins"], error: float) -> "Figure":
    """Plot accuracy against confidence; a calibrated model lies on the diagonal."""
    counts, confidence, accuracy = calibration
    figure, axes = panel(*SQUARE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    seen = counts > 0
    sizes = 20 + 300 * counts[seen] / max(counts.sum(), 1)
    axes.plot(confidence[seen], accuracy[seen], color=BLUE, linewidth=1)
    axes.scatter(confidence[seen], accuracy[seen], s=sizes, color=BLUE, alpha=0.7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("probability of the predicted label")
    axes.set_ylabel("fraction of these predictions that are right")
    axes.set_title(f"calibration: off by {error:.1%} on average")
    return figure


def scatter_figure(
    true: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"], title: str
) -> "Figure":
    """Plot predicted against true numbers; a perfect model lies on the diagonal."""
    figure, axes = panel(*SQUARE)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color=GREY, linestyle=":")
    axes.scatter(true, predicted, s=8, color=BLUE, alpha=0.4, linewidths=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_title(title)
    return figure


def shortened(label: str) -> str:
    """Return a label on one line, cut to `MAX_CHARACTERS`."""
    label = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", label).split())
    return label if len(label) <= MAX_CHARACTERS else label[: MAX_CHARACTERS - 1] + "…"
