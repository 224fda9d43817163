"""Draw what score and loss are without each head, beside the importance by gradient."""

from typing import TYPE_CHECKING

import numpy as np

from plainformer.base.figures import panels
from plainformer.explain.inside.ablation import HeadAblation, PerHead

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ablation_figure(found: HeadAblation) -> "Figure":
    """Plot each as layers × heads; a dot marks a drop whose interval is above or below 0."""
    layers, heads = found.drop.shape
    figure, axes = panels(3, max(3.6, 0.36 * heads + 1.4), max(2.6, 0.36 * layers + 1.4))
    name = found.metric.replace("_", " ")
    _paint(axes[0], found.drop, f"drop of {name} ({found.score:.3f})")
    _paint(axes[1], found.loss_rise, "rise of the loss")
    _paint(axes[2], found.importance, "importance by gradient")
    sure = np.argwhere((found.low > 0) | (found.high < 0))
    axes[0].scatter(sure[:, 1] + 1, sure[:, 0] + 1, s=18, color="black", edgecolors="white")
    return figure


def _paint(axes: "Axes", values: PerHead, title: str) -> None:
    """Paint a table of layers and heads, both numbered from 1; 0 is white."""
    layers, heads = values.shape
    most = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    axes.grid(visible=False)
    signed = bool((values < 0).any())
    edges = (0.5, heads + 0.5, layers + 0.5, 0.5)
    image = axes.imshow(values, cmap="RdBu_r" if signed else "Reds", extent=edges)
    image.set_clim(-most if signed else 0.0, most)
    axes.set_xticks(range(1, heads + 1, -(-heads // 16)))
    axes.set_yticks(range(1, layers + 1, -(-layers // 16)))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
