"""Read the terms of the field, and where each is shown."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Term:
    """A term of the field in both languages."""

    en: str
    zh: str
    shown: str
    """The place that shows it: a cell of a chapter (`03_attention#packing`), or a file."""
    meaning: str
    meaning_zh: str
    also: tuple[str, ...] = ()
    """Other names of it, in either language."""

    @property
    def chapter(self) -> str | None:
        """Name the chapter that shows it, if a chapter does."""
        return self.shown.partition("#")[0] if self.shown[:2].isdigit() else None


def read_terms(folder: Path = HERE) -> list[Term]:
    """Read all terms, in the order of `terms.toml`."""
    listed = tomllib.loads((folder / "terms.toml").read_text(encoding="utf-8")).get("term", [])
    return [Term(**{**term, "also": tuple(term.get("also", ()))}) for term in listed]
