"""Convert the label numbers in a Parquet file of Hugging Face `datasets` to label names.

The metadata of the file describes its columns: a `ClassLabel` lists the names, and the column holds
an index into that list, or a list of them; −1 is a missing label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plainformer.base import UserError, parse_json

KEY = b"huggingface"


def class_names(metadata: Mapping[bytes, bytes] | None, source: object) -> dict[str, list[str]]:
    """Return the label names of each `ClassLabel` column; none without such metadata."""
    given = (metadata or {}).get(KEY)
    value = {} if given is None else parse_json(given, source)
    for name in ("info", "features"):
        value = value.get(name) if isinstance(value, dict) else None
    features = value if isinstance(value, dict) else {}
    found = {column: _names(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names is not None}


def with_names(
    fields: dict[str, Any], names: Mapping[str, Sequence[str]], source: str
) -> dict[str, Any]:
    """Replace the label numbers of a row by their names.

    Raises:
        UserError: a number has no name.
    """
    return {
        column: _named(value, names[column], f"{source}: column {column!r}")
        if column in names
        else value
        for column, value in fields.items()
    }


def _names(feature: Any) -> list[str] | None:
    if isinstance(feature, list):  # a sequence, as older versions write it
        return _names(feature[0]) if feature else None
    if not isinstance(feature, dict):
        return None
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list):
        return [str(name) for name in names]
    return _names(feature.get("feature"))


def _named(value: Any, names: Sequence[str], source: str) -> Any:
    if isinstance(value, list):
        return [_named(one, names, source) for one in value]
    if type(value) is not int or value == -1:
        return None if value == -1 else value
    if not 0 <= value < len(names):
        raise UserError(f"{source}: label {value} has no name: there are {len(names)} names")
    return names[value]
