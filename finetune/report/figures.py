"""Pictures of a metric: the few that its tasks share, and how one becomes a file."""

import io
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64

from plainformer.base import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGIBLE = 30
"""labels of which a picture can show the counts"""
CURVES = 10
"""labels of which a picture can show the curves"""
LONGEST = 24
"""characters of a label that a picture shows"""
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Noto Serif CJK SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "AR PL UMing CN", "AR PL UKai CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Songti SC", "Arial Unicode MS"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Malgun Gothic", "Droid Sans Fallback"),
)
"""Fonts with Chinese, Japanese and Korean characters, which matplotlib's default lacks."""


def confusion_figure(
    labels: Sequence[str], confusion: Int64[np.ndarray, "labels labels"], title: str
) -> "Figure":
    """Shares of each true label that were taken for each label, and counts.

    Beyond `LEGIBLE` labels there is no room for counts.
    """
    from matplotlib.figure import Figure

    size = 2.2 + 0.75 * min(len(labels), LEGIBLE)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    counts = confusion if len(labels) <= LEGIBLE else confusion[:0]
    for (i, j), count in np.ndenumerate(counts):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, f"{count}", ha="center", va="center", color=colour)
    ticks = range(len(labels))
    names = [shortened(label) for label in labels]
    axes.set_xticks(ticks, names, rotation=30, ha="right", **label_style())
    axes.set_yticks(ticks, names, **label_style())
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true label")
    return figure


def roc_figure(
    curves: Mapping[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]],
    areas: Mapping[str, float],
) -> "Figure":
    """Receiver operating characteristics: false against true positives, a curve a label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#a0aec0", linestyle=":")
    for label, (false, true) in list(curves.items())[:CURVES]:
        axes.plot(false, true, label=f"{shortened(label)} ({areas[label]:.3f})")
    axes.set_xlabel("share of the others that are taken for it")
    axes.set_ylabel("share of the label that is found")
    axes.set_title("ROC, and the area under it")
    legend = axes.legend(loc="lower right", frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set(**label_style())
    return figure


def calibration_figure(
    confidence: Float[np.ndarray, " bins"],
    accuracy: Float[np.ndarray, " bins"],
    counts: Int64[np.ndarray, " bins"],
    error: float,
) -> "Figure":
    """How often the model is right against how sure it is; on the diagonal it knows itself."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#a0aec0", linestyle=":")
    seen = counts > 0
    sizes = 20 + 300 * counts[seen] / max(int(counts.sum()), 1)
    axes.plot(confidence[seen], accuracy[seen], color="#2b6cb0", linewidth=1)
    axes.scatter(confidence[seen], accuracy[seen], s=sizes, color="#2b6cb0", alpha=0.7)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("probability that the model gives its answer")
    axes.set_ylabel("share of these answers that are right")
    axes.set_title(f"calibration: off by {error:.1%} on average")
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a picture as PNG."""
    with atomic_path(path) as temporary, _warning_of_unknown_glyphs():
        figure.savefig(temporary, format="png", dpi=150)


def as_svg(figure: "Figure") -> str:
    """The picture as an `<svg>` element, to stand in a page; its words stay words."""
    import matplotlib

    words = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "plainformer"})
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with io.StringIO() as file, words, _warning_of_unknown_glyphs():
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        text = file.getvalue()
    return text[text.index("<svg") :]


def shortened(label: str) -> str:
    """A label on one line, and not longer than there is room for."""
    label = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", label).split())
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"


def label_style() -> dict[str, Any]:
    """Text that users wrote: a "$" begins no formula, and any script finds a font."""
    from matplotlib.font_manager import fontManager

    fonts = ["sans-serif", *(f for f in CJK_FONTS if f in fontManager.get_font_names())]
    return {"parse_math": False, "fontfamily": fonts}


@contextmanager
def _warning_of_unknown_glyphs() -> Iterator[None]:
    """Warn once, in one line, of characters that no installed font can draw."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = ""
    for warning in caught:
        found = re.match(r"Glyph (\d+) .* missing", str(warning.message))
        if found is None:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        else:
            missing += chr(int(found[1]))
    new = "".join(dict.fromkeys(missing.translate(dict.fromkeys(map(ord, _said)))))
    if new:
        _said.update(new)
        print(
            f"warning: no installed font has {new[:10]}{'…' if len(new) > 10 else ''}: pictures "
            "show boxes instead; install one that does (Debian: fonts-noto-cjk), and remove "
            f"matplotlib's list of fonts in {matplotlib_cache()}",
            file=sys.stderr,
        )


_said: set[str] = set()
"""Characters that were already warned of."""


def matplotlib_cache() -> str:
    """Return the folder of matplotlib's font cache."""
    import matplotlib

    return matplotlib.get_cachedir()
