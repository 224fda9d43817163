"""Draw what probes find, and maps of texts."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from plainformer.base.figures import BLUE, GREY, ORANGE, panel, panels, user_text_style
from plainformer.explain.inside.probe import Layer
from plainformer.explain.inside.projection import Projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES = 10
"""Labels with a colour of their own; the rarer ones share a grey."""
MARKERS = "osD^vP*Xph"
COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8", "C9", "black")
"""A marker and a colour for each of them; C7 is grey."""
MOST_CHARACTERS = 24
"""Characters of a label in the legend."""


def draw_layers(layers: Sequence[Layer], baseline: float) -> "Figure":
    """Draw accuracy, control and the most frequent label over the layers."""
    figure, axes = panel(6.4, 3.8)
    numbers = [layer.number for layer in layers]
    axes.plot(numbers, [layer.accuracy for layer in layers], "o-", color=BLUE, label="accuracy")
    low, high = zip(*(layer.accuracy_interval for layer in layers), strict=True)
    axes.fill_between(numbers, low, high, color=BLUE, alpha=0.15, linewidth=0)
    control = [layer.control for layer in layers]
    axes.plot(numbers, control, "s--", color=ORANGE, label="control task")
    axes.axhline(baseline, color=GREY, linestyle=":", label="most frequent label")
    axes.set_xticks(numbers)
    axes.set_xlabel("layer (0: the embeddings)")
    axes.set_ylabel("held-out accuracy of the probe")
    axes.legend(frameon=False)
    return figure


def draw_map(found: Projection) -> "Figure":
    """Draw both maps side by side, coloured by label; numbers by their size."""
    figure, (left, right) = panels(2, 5.2, 4.6)
    left.set_title("PCA")
    left.set_xlabel(f"{found.explained[0]:.1%} of the variance")
    left.set_ylabel(f"{found.explained[1]:.1%} of the variance")
    right.set_title("t-SNE")
    right.set_xticks([])
    right.set_yticks([])
    groups = [one.group for one in found.shown]
    scores = as_numbers(groups)
    for axes, places in ((left, found.pca), (right, found.tsne)):
        if scores is not None:
            dots = axes.scatter(places[:, 0], places[:, 1], c=scores, s=9, cmap="viridis")
        else:
            scatter_names(axes, places, groups)
    if scores is not None:
        figure.colorbar(dots, ax=right)
    elif (handles := left.get_legend_handles_labels())[0]:
        texts = right.legend(
            *handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5)
        ).get_texts()
        for text in texts:
            text.set(**user_text_style())
    return figure


def as_numbers(labels: Sequence[str]) -> Float[np.ndarray, " texts"] | None:
    """Return labels as numbers, if all are and there are more of them than have colours."""
    try:
        numbers = np.array([float(label) for label in labels])
    except ValueError:
        return None
    return numbers if len({*labels}) > MOST_NAMES and np.isfinite(numbers).all() else None


def scatter_names(
    axes: "Axes", places: Float[np.ndarray, "texts 2"], labels: Sequence[str]
) -> None:
    """Draw the texts of each label in a colour and with a marker of its own."""
    named = [name for name, _ in Counter(labels).most_common(MOST_NAMES) if name]
    rest = np.array([label not in named for label in labels])
    if rest.any():
        other = "other" if named else "_nolegend_"
        axes.scatter(places[rest, 0], places[rest, 1], s=9, color=GREY, marker=".", label=other)
    for number, name in enumerate(sorted(named)):
        some = places[np.array(labels) == name]
        shown = name if len(name) <= MOST_CHARACTERS else f"{name[:MOST_CHARACTERS]}…"
        colour, marker = COLOURS[number], MARKERS[number]
        axes.scatter(
            some[:, 0], some[:, 1], s=9, color=colour, marker=marker, label=shown, linewidths=0
        )
