"""A row of labelled examples: its values by column, its file and line, and its missing values.

| value                                              | meaning                                     |
|----------------------------------------------------|---------------------------------------------|
| null, NaN (.jsonl, .parquet)                       | missing                                     |
| an empty cell (.csv, .tsv)                         | missing                                     |
| NA, NaN, None, NULL … without quotes (.csv, .tsv)  | a text, but not a label or a pair           |
| "NA" in quotes (.csv); the string "NA" (.jsonl)    | that text                                   |

The third is `Doubtful`: R writes a missing value as a bare NA and every text in quotes; pandas
writes an empty cell (or its `na_rep`), and reads every text in `MISSING` as missing.
"""

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from plainformer.base import UserError, closest, did_you_mean
from plainformer.base.json_reader import parse_json
from plainformer.corpora.files import File

MISSING = frozenset((
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
))  # fmt: skip
"""The texts, apart from the empty one, that pandas reads as missing values."""

TRUTH = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
"""The values, in lower case, of a column that stands for one label."""

_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_ITEM = rf"""'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*"|{_NUMBER}|True|False"""
_LIST = re.compile(rf"[\[(]\s*(?:(?:{_ITEM})\s*(?:,\s*(?:{_ITEM})\s*)*,?\s*)?[\])]")


class Doubtful(str):
    """An unquoted cell with a text that may stand for a missing value."""

    __slots__ = ()


def is_missing(value: Any) -> bool:
    """Tell whether a value is missing: null or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled example, with its file and line."""

    fields: dict[str, Any]
    file: File
    line: int
    named: Mapping[str, str] | None = None
    """The user's columns by field name, where they can be chosen."""
    columns: Mapping[str, Any] | None = None
    """The values by column of the file, where fields may have other names."""

    @property
    def source(self) -> str:
        """Return the file and line, as errors cite them: "data.csv:12"."""
        return f"{self.file}:{self.line}"

    def require(self, *names: str) -> list[Any]:
        """Return the values of these fields; raise `UserError` for one that is missing."""
        for name in names:
            if name not in self.fields:
                raise self._no_column(name)
            if is_missing(self.fields[name]):
                raise UserError(f"{self.source}: no value in column {self._column(name)!r}")
        return [self.fields[name] for name in names]

    def has(self, name: str) -> bool:
        """Tell whether a field has a value that is neither missing nor an empty text."""
        value = self.fields.get(name)
        return not is_missing(value) and value != ""

    def string(self, name: str) -> str:
        """Return the value of a field as text; raise `UserError` for a list or an object."""
        (value,) = self.require(name)
        if isinstance(value, list | dict):
            found = f"{value!r:.40}"
            raise UserError(f"{self.source}: column {name!r} is not one text: {found}")
        return str(value)

    def sure_string(self, name: str) -> str:
        """Return the value of a field as text; raise `UserError` for a `Doubtful` one."""
        value = self.fields.get(name)
        if isinstance(value, Doubtful):
            quoted = f'write "{value}" in quotes' if ".csv" in str(self.file) else "use .jsonl"
            raise UserError(
                f"{self.source}: {value} in column {self._column(name)!r} may be a missing value: "
                f"drop the row or empty the cell; if it is a text, {quoted}"
            )
        return self.string(name)

    def optional(self, name: str) -> str | None:
        """Return the text of an optional field; None where it has no value."""
        return self.sure_string(name) if self.has(name) else None

    def items(self, name: str) -> Any:
        """Return the value of a field; parse a cell that contains a list.

        The list is JSON, or a Python list of strings or numbers.
        """
        (value,) = self.require(name)
        return read_list(value, self.source) if isinstance(value, str) else value

    def _column(self, name: str) -> str:
        return (self.named or {}).get(name, name)

    def _no_column(self, name: str) -> UserError:
        columns = tuple(self.columns or self.fields)
        there = ", ".join(columns) or "none"
        parts = self._column(name).split(",")
        column = next((part for part in parts if part not in columns), self._column(name))
        message = f"{self.source}: no column {column!r}; columns: {there}"
        if self.named is None:
            hint = did_you_mean(name, columns) or f"; rename the right one {name!r}"
            return UserError(message + hint)
        near = closest(column, columns)
        if near is None:
            return UserError(f"{message}; name it: --columns {name}=COLUMN")
        meant = ",".join(near if part == column else part for part in parts)
        return UserError(f"{message}; did you mean --columns {shlex.quote(f'{name}={meant}')}?")


def read_list(cell: str, source: str) -> Any:
    """Parse a cell that contains a list; return any other cell unchanged.

    Raises:
        UserError: the cell looks like a list, but is not valid.
    """
    text = cell.strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return cell
    try:
        return parse_json(text, source)
    except UserError:
        if _LIST.fullmatch(text):
            return [_item(found) for found in re.findall(_ITEM, text)]
        depths = accumulate((c == text[0]) - (c == text[-1]) for c in text)
        if text[0] == "(" or 0 in list(depths)[:-1]:  # "[b]beast[/b]" is no list
            return cell
    raise UserError(f'{source}: neither a JSON list (["a", "b"]) nor one text: {text!r:.40}')


def _item(found: str) -> Any:
    if found[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", found[1:-1])
    if found in ("True", "False"):
        return found == "True"
    try:
        number = int(found)
    except ValueError:
        return float(found)
    return number if str(number) == found else found  # 007 is a code, another than 7


@dataclass(frozen=True)
class Columns:
    """A mapping of field names to the columns of a user's file: {"text": "review"}.

    A field with several columns, separated by commas, is the list of those with the value 1 or
    true.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    """The fields whose columns must exist; others, remembered from training, may be absent."""

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows with these field names.

        Raises:
            UserError: no row has a required column.
        """
        seen: set[str] = set()
        row = None
        for row in rows:
            fields = dict(row.fields)
            for name, column in self.named.items():
                if column in row.fields:
                    fields[name] = row.fields[column]
                    seen.add(name)
                elif "," in column and all(part in row.fields for part in column.split(",")):
                    fields[name] = [part for part in column.split(",") if _is_true(row, part)]
                    seen.add(name)
                elif name in self.required:
                    fields.pop(name, None)
            yield replace(row, fields=fields, named=self.named, columns=row.fields)
        absent = [name for name in self.named if name in self.required and name not in seen]
        if row is not None and absent:
            raise UserError(missing_column(row, self.named[absent[0]]))


def missing_column(row: Row, column: str) -> str:
    """Return the message for a column that does not exist, listing those that do."""
    absent = next(part for part in column.split(",") if part not in row.fields)
    there = ", ".join(row.fields)
    return f"{row.file}: no column {absent!r}; columns: {there}{did_you_mean(absent, row.fields)}"


def read_columns(options: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Parse `text=review label=stars`; raise `UserError` for invalid options or unknown names."""
    names = tuple(known)
    found: dict[str, str] = {}
    for option in options:
        name, sign, column = option.partition("=")
        if not (name and sign and column):
            raise UserError(
                f"--columns {option}: write NAME=COLUMN, with NAME one of {', '.join(names)}"
            )
        if name not in names:
            near = did_you_mean(name, names)
            raise UserError(f"--columns {option}: the names are {', '.join(names)}{near}")
        if name in found:
            raise UserError(f"--columns {option}: {name} already has the column {found[name]!r}")
        found[name] = column
    return found


def _is_true(row: Row, column: str) -> bool:
    value = row.fields[column]
    truth = TRUTH.get(str(value).strip().lower())
    if truth is None:
        found = f"{value!r:.40}"
        raise UserError(f"{row.source}: column {column!r} is neither 0 nor 1: {found}")
    return truth
