"""Check the texts that callers give to the tokenizer.

| input                               | read as                                      |
|-------------------------------------|----------------------------------------------|
| "text"                              | a text                                       |
| ("text", "pair"), or a list of two  | a text and its pair                          |
| None, NaN, a number, bytes, …       | an error: a missing value is not a text      |
| a tuple of one or three texts       | an error                                     |
| a string in place of a list         | an error: its letters are not texts          |
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plainformer.base import UserError

LONGEST_TEXT = 1 << 22
"""Characters of a text at most; tokenizing that many takes up to half a gigabyte."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_text(text: object, name: str = "the text") -> None:
    """Check that a value is a string of at most `LONGEST_TEXT` characters.

    Raises:
        UserError: it is not.
    """
    if not isinstance(text, str):
        raise UserError(f"{name} must be a string, not {describe(text)}")
    if len(text) > LONGEST_TEXT:
        raise UserError(
            f"{name} has {len(text):,} characters, more than {LONGEST_TEXT:,}: split it"
        )


def text_and_pair(given: object, name: str) -> tuple[str, str | None]:
    """Return a text and its pair, or None without a pair.

    Raises:
        UserError: `given` is neither a string nor a pair of strings.
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


def as_list(given: Any, name: str = "texts") -> Sequence[Any]:
    """Convert an iterable of inputs to a list; refuse a string, a mapping or a table.

    Raises:
        UserError: `given` is not a list of inputs.
    """
    if isinstance(given, str | bytes):
        raise UserError(f"{name} must be a list: write [text] for a single one")
    if isinstance(given, Mapping):
        raise UserError(f"{name} must be a list: write [row] for a single one")
    if hasattr(given, "columns"):
        raise UserError(f"{name} must be a list, not a table: give one of its columns, as a list")
    if not isinstance(given, Iterable):
        raise UserError(f"{name} must be a list, not {describe(given)}")
    return list(given)


def describe(value: object) -> str:
    """Describe an invalid value for an error: None, nan, or its type and first characters."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return str(value)
    return f"{type(value).__name__} {value!r:.40}"


def refuse_surrogates(text: str) -> None:
    """Check that a text is valid Unicode.

    Raises:
        UserError: it contains a lone surrogate.
    """
    if not text.isascii() and (found := _SURROGATE.search(text)):
        raise UserError(
            f"text contains a lone surrogate at character {found.start()}: it is not valid "
            "Unicode; read the file as UTF-8 with errors='replace'"
        )
