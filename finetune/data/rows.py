"""Convert the inputs of a prediction to rows, and check the length of texts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plainformer.corpora import Row
from plainformer.tokenizer import as_list, text_and_pair
from plainformer.tokenizer.inputs import LONGEST_TEXT, check_text

Input = str | tuple[str, str] | list[str] | Mapping[str, Any]
"""The input of a prediction: a text, a text and its pair, or the fields of a row."""
INPUT = Path("input")
"""The file that errors name."""


def bounded(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows unchanged; raise `UserError` with file and line for too long a text."""
    for row in rows:
        for name, value in row.fields.items():
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                check_text(value, f"{row.source}: column {name!r}")
        yield row


def as_rows(inputs: Iterable[Input]) -> Iterator[Row]:
    """Convert inputs to rows, numbered for error messages.

    Raises `UserError` where `inputs` is not a list and, while iterating, for an input that is not
    a text, a pair of texts or the fields of a row.
    """
    return (_row(number, given) for number, given in enumerate(as_list(inputs, "inputs"), start=1))


def _row(number: int, given: Input) -> Row:
    if isinstance(given, Mapping):
        return Row(dict(given), INPUT, number)
    text, pair = text_and_pair(given, f"input {number}")
    fields = {"text": text} if pair is None else {"text": text, "pair": pair}
    return Row(fields, INPUT, number)
