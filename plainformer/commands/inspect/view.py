"""The options that every view of `plainformer inspect` has."""

from dataclasses import dataclass
from pathlib import Path

from plainformer.base import UserError


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The options of one view; `name` is that of its file."""

    name: str


def refuse_no_page(out: Path | None) -> None:
    """Raise `UserError` for a file that is no HTML page by its name."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} must end in .html: it is a page")
