"""Show figures, check the figures of the prose, and try exercises: the helpers of the chapters.

In a notebook a figure appears below its cell. In a script it is saved under `runs/walkthrough/`,
and its description is printed.
"""

import base64
import io
import re
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from plainformer.base.figures import BLUE, GREY, ORANGE, PALE_BLUE, panel, panels, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "PALE_BLUE",
    "check",
    "claim",
    "panel",
    "panels",
    "show",
    "show_frames",
]

SAVED = Path("runs/walkthrough")


def claim(measured: float, text: str, within: float) -> None:
    """Check a figure that the prose gives: |measured − text| ≤ within, in the unit of the text.

    `text` is the figure as the prose writes it, in both languages: "0.86", "3.1", "12 %".

    Raises:
        AssertionError: the measured value is further away than that.
    """
    number = re.match(r"[-−+]?[\d,]*\.?\d+", text)
    assert number is not None, f"no number at the beginning of {text!r}"
    stated = float(number[0].replace(",", "").replace("−", "-"))
    assert abs(measured - stated) <= within, f"measured {measured:.4g}; the text says {text}"
    print(f"measured {measured:.4g}; the text says {text} (± {within:g})")


def check(exercise: Callable[[], None]) -> Callable[[], None]:
    """Run the check of an exercise and print whether the answer is right: a decorator."""
    name = exercise.__name__.replace("_", " ")
    try:
        exercise()
    except NotImplementedError:
        print(f"{name}: not written yet")
    except Exception as error:
        print(f"{name}: not right yet: {type(error).__name__}: {error}")
    else:
        print(f"{name}: right")
    return exercise


def show(figure: "Figure", alt: str) -> None:
    """Show a figure; `alt` describes it to those who cannot see it."""
    if _in_notebook():
        from IPython.display import display

        image = {"image/png": _png(figure), "text/plain": alt}
        size = {"width": round(96 * figure.get_figwidth())}
        display(image, metadata={"image/png": {"alt": alt, **size}}, raw=True)
    else:
        _save(figure, alt)


def show_frames(figures: Sequence["Figure"], labels: Sequence[str], alt: str) -> None:
    """Show a series of figures with a slider to step through them; a script saves the last one."""
    if _in_notebook():
        from IPython.display import display

        frames = [(label, _png(figure)) for label, figure in zip(labels, figures, strict=True)]
        width = round(96 * figures[-1].get_figwidth())
        page = {"text/html": _slider(frames, alt, width), "text/plain": alt}
        display(page, metadata={"text/html": {"alt": alt}}, raw=True)
    else:
        _save(figures[-1], alt)


def _in_notebook() -> bool:
    """Return whether a notebook's kernel runs this."""
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


def _png(figure: "Figure") -> str:
    """Return a figure as PNG in base64."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=150)
        return base64.b64encode(file.getvalue()).decode("ascii")


def _save(figure: "Figure", alt: str) -> None:
    """Save a figure of a script under the script's name and a number."""
    folder = SAVED / Path(sys.argv[0]).stem
    folder.mkdir(parents=True, exist_ok=True)
    _saved.append(alt)
    path = folder / f"{len(_saved)}.png"
    save_png(figure, path)
    print(f"{path}: {alt}")


_saved: list[str] = []
"""Descriptions of the figures that this process has saved."""


def _slider(frames: Sequence[tuple[str, str]], alt: str, width: int) -> str:
    """Return a page element that shows one frame at a time, with a slider and a label."""
    images = "".join(
        f'<img src="data:image/png;base64,{png}" alt="{escape(alt)} {escape(label)}"'
        f' width="{width}"{" hidden" if number < len(frames) - 1 else ""}>'
        for number, (label, png) in enumerate(frames)
    )
    labels = escape("|".join(label.replace("|", "/") for label, _ in frames))
    move = (
        "const box=this.closest('.frames'),n=+this.value;"
        "box.querySelectorAll('img').forEach((e,i)=>{e.hidden=i!==n});"
        "const label=box.dataset.labels.split('|')[n];"
        "box.querySelector('output').value=label;this.setAttribute('aria-valuetext',label)"
    )
    last = len(frames) - 1
    return (
        f'<div class="frames" data-labels="{labels}">{images}'
        f'<p><input type="range" min="0" max="{last}" value="{last}" aria-label="{escape(alt)}"'
        f' aria-valuetext="{escape(frames[last][0])}" oninput="{escape(move)}">'
        f" <output>{escape(frames[last][0])}</output></p></div>"
    )
