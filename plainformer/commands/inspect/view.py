"""The options that every view of `plainformer inspect` has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plainformer.base import UserError, refuse_no_folder

if TYPE_CHECKING:
    from plainformer.explain.inside.training import Shown

LABEL, TEXT = 20, 120
"""The most characters of a label and of a text on a line."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The options of one view; `name` is that of its file."""

    name: str


def refuse_no_page(out: Path | None) -> None:
    """Raise `UserError` for a file that is no HTML page by its name."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} must end in .html: it is a page")
    refuse_no_folder(out)


def refuse_no_picture(out: Path | None) -> None:
    """Raise `UserError` for a file that is no PNG by its name, or whose folder is not there."""
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"{out} must end in .png: it is a picture")
    refuse_no_folder(out)


def print_examples(rows: "Sequence[tuple[float, Shown]]", form: str) -> None:
    """Print a line for each example: its number, as `form` says, its label and its text."""
    from rich.console import Console

    console = Console(highlight=False)
    width = max((len(shortened(shown.label, LABEL)) for _, shown in rows), default=0)
    for number, shown in rows:
        label = shortened(shown.label, LABEL).ljust(width)
        line = f"{number:{form}}  {label}  {shortened(shown.text, TEXT)}"
        console.print(line, markup=False, soft_wrap=True)


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut where it is longer than `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
