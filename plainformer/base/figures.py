"""Draw figures in one style, and save them as PNG or SVG. matplotlib is imported on first use."""

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainformer.base.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, PALE_BLUE, ORANGE, GREY = "#2b6cb0", "#c9d6e3", "#dd6b20", "#a0aec0"
DPI = 150
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Noto Serif CJK SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "AR PL UMing CN", "AR PL UKai CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Songti SC", "Arial Unicode MS"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Malgun Gothic", "Droid Sans Fallback"),
)
"""Fonts with Chinese, Japanese and Korean characters, which matplotlib's default lacks."""


def panels(
    count: int, width: float, height: float, columns: int = 3
) -> tuple["Figure", list["Axes"]]:
    """Make a figure of `count` panels in rows, each `width` by `height` inches."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    found = [figure.add_subplot(rows, columns, number) for number in range(1, count + 1)]
    for axes in found:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, found


def panel(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Make a figure of one panel, `width` by `height` inches."""
    figure, (axes,) = panels(1, width, height)
    return figure, axes


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_path(path) as temporary, _warning_of_unknown_glyphs():
        figure.savefig(temporary, format="png", dpi=DPI)


def as_svg(figure: "Figure") -> str:
    """Return a figure as an `<svg>` element for a page; its words stay words."""
    import matplotlib

    words = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "plainformer"})
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with io.StringIO() as file, words, _warning_of_unknown_glyphs():
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
        text = file.getvalue()
    return text[text.index("<svg") :]


def user_text_style() -> dict[str, Any]:
    """Return the style of text that users wrote: "$" begins no formula, any script finds a font."""
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
    new = "".join(dict.fromkeys(missing.translate(dict.fromkeys(map(ord, _warned)))))
    if new:
        _warned.update(new)
        print(
            f"warning: no installed font has {new[:10]}{'…' if len(new) > 10 else ''}: figures "
            "show boxes instead; install one that does (Debian: fonts-noto-cjk), and remove "
            f"matplotlib's list of fonts in {matplotlib_cache()}",
            file=sys.stderr,
        )


_warned: set[str] = set()
"""Characters that were already warned of."""


def matplotlib_cache() -> str:
    """Return the folder of matplotlib's font cache."""
    import matplotlib

    return matplotlib.get_cachedir()
