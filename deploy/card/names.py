"""Name what a card may say of a user's files: sets by their names, files without their folders."""

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlparse

from plainformer.base import Fields, UserError, read_json
from plainformer.corpora import is_set


def file_name(source: str) -> str:
    """Return the last part of a path or URL, without a query, in characters that can be written."""
    if "://" in source:
        source = urlparse(source).path
    name = PurePath(source.replace("\\", "/")).name or "data"
    return name.encode("utf-8", "replace").decode("utf-8")


def is_named(source: str) -> bool:
    """Tell whether a source is a set of the catalogue."""
    try:
        return is_set(source)
    except (UserError, OSError, ValueError):
        return False


def object_in(path: Path) -> Mapping[str, Any]:
    """Read a JSON object; an empty one where there is none to be read."""
    try:
        values: Mapping[str, Any] = Fields(read_json(path), path).values
    except (UserError, OSError):
        return {}
    return values
