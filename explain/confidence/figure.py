"""Plot a reliability diagram, and the error by the share of rows that are answered."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from plainformer.base.figures import BLUE, GREY, ORANGE, panels
from plainformer.explain.confidence.abstaining import risk_curve
from plainformer.explain.confidence.answered import Answered
from plainformer.explain.confidence.measures import binned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    answered: Answered,
    temperature: float,
    confidence: Float[np.ndarray, " examples"],
    right: Bool[np.ndarray, " examples"],
) -> "Figure":
    """Draw the reliability before and after, and the error by the share that is answered."""
    figure, (reliability, risks) = panels(2, 5.0, 4.6, columns=2)
    reliability.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for name, colour, marker, at in (
        ("before", ORANGE, "s", 1.0),
        ("after", BLUE, "o", temperature),
    ):
        p = answered.probabilities(at)
        bins = binned(p.max(1), p.argmax(1) == answered.truth)
        sizes = 20 + 200 * bins.counts / bins.counts.sum()
        label = f"{name}: off by {bins.error:.1%}"
        x, y = bins.confidence, bins.accuracy
        reliability.plot(x, y, color=colour, marker=marker, linewidth=1, label=label)
        reliability.scatter(x, y, s=sizes, color=colour, marker=marker, alpha=0.7)
    reliability.set(xlim=(0, 1.02), ylim=(0, 1.02))
    reliability.set_xlabel("probability of the most probable answer")
    reliability.set_ylabel("fraction that is right")
    reliability.set_title(f"reliability at T = {temperature:.3g}")
    reliability.legend(loc="upper left", frameon=False, fontsize=8)
    share, error = risk_curve(confidence, right)
    risks.plot(share, error, color=BLUE)
    risks.set(xlim=(0, 1.02), ylim=(0, None))
    risks.set_xlabel("share of rows that are answered, the surest first")
    risks.set_ylabel("error among them")
    risks.set_title("risk by coverage")
    return figure
