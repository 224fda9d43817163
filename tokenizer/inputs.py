"""Check the texts that callers give to the tokenizer.

| given                          | is                                                              |
|--------------------------------|-----------------------------------------------------------------|
| "text"                         | a text                                                          |
| ("text", "pair"), a list of 2  | a text and its pair                                             |
| None, NaN, a number, bytes, …  | refused: what is missing is not a text                          |
| three texts, or one in a tuple | refused: none of them is dropped unsaid                         |
| a string where a list belongs  | refused: its letters are not the texts                          |
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plainformer.base import UserError

LONGEST_TEXT = 1 << 22
"""The most characters of one text; tokenising it takes up to half a gigabyte."""


def check_text(text: object, name: str = "the text") -> None:
    """Raise `UserError` for a value that is not a string, or is longer than `LONGEST_TEXT`.

    Raises:
        UserError: says what was given instead.
    """
    if not isinstance(text, str):
        raise UserError(f"{name} must be a string, not {describe(text)}")
    if len(text) > LONGEST_TEXT:
        raise UserError(
            f"{name} has {len(text):,} characters, more than {LONGEST_TEXT:,}: split it"
        )


def text_and_pair(given: object, name: str) -> tuple[str, str | None]:
    """Return a text and its pair, if there is one.

    Raises:
        UserError: it is neither a string nor two of them.
    """
    if isinstance(given, tuple | list):
        if len(given) != 2:
            raise UserError(f"{name} must be a text or a pair of texts, not {len(given)} items")
        check_text(given[0], f"{name}, first of its pair,")
        check_text(given[1], f"{name}, second of its pair,")
        return given[0], given[1]
    check_text(given, name)
    assert isinstance(given, str)
    return given, None


def as_list(given: Any, what: str = "texts") -> Sequence[Any]:
    """Convert an iterable of inputs to a list; refuse a string, a mapping or a table.

    Raises:
        UserError: says how to write it.
    """
    if isinstance(given, str | bytes):
        raise UserError(f"{what} must be a list: write [text] for a single one")
    if isinstance(given, Mapping):
        raise UserError(f"{what} must be a list: write [row] for a single one")
    if hasattr(given, "columns"):
        raise UserError(f"{what} must be a list, not a table: give one of its columns, as a list")
    if not isinstance(given, Iterable):
        raise UserError(f"{what} must be a list, not {describe(given)}")
    return list(given)


def describe(value: object) -> str:
    """Describe an invalid value: None, nan, or its type and its beginning."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return str(value)
    return f"{type(value).__name__} {value!r:.40}"
