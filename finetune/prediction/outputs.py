"""Write predictions as they arrive: as JSON lines, or as a table with a header.

| file           | a prediction is                                                                |
|----------------|--------------------------------------------------------------------------------|
| .jsonl, stdout | a JSON object                                                                  |
| .csv           | a record; numbers by label have a column each: `probabilities.spam`            |
| .tsv           | the same between tabs, without quotes: no cell may hold a tab or a line break  |

A row keeps its columns, followed by the prediction. Where both have a column of one name, the value
of the row is kept as `given_NAME`: `label` is always the prediction. Where the row has that column,
too, as where predictions are predicted again, it is `given_given_NAME`.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from plainformer.base import UserError, atomic_path, is_stream, nan_to_null
from plainformer.corpora import MISSING, Doubtful, Row
from plainformer.finetune.data.example import Prediction

DECIMALS = 6
FORMATS = (".jsonl", ".csv", ".tsv")
REPEATED = ("words",)  # fields of a prediction that repeat its row

Write = Callable[[Row, Prediction], None]


def check_format(path: Path) -> None:
    """Check that the format of a file follows from its name; a pipe or a device may have any.

    Raises:
        UserError: names the known endings.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file for --out")
    is_regular = path.is_file() or not path.exists()
    if is_regular and path.suffix.lower() not in FORMATS:
        raise UserError(f"{path} must end in {', '.join(FORMATS)}, which decides its format")


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open a file that appears when it is complete, a pipe, or (None) standard output."""
    if path is None:
        yield sys.stdout
    elif is_stream(path):
        with path.open("a", encoding="utf-8", newline="") as file:
            yield file
    else:
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file


def writer(file: TextIO, ending: str) -> Write:
    """Return a function that writes a row and its prediction to `file` in its format."""
    if ending.lower() in (".csv", ".tsv"):
        return _Table(file, ending.lower()).write

    def write(row: Row, prediction: Prediction) -> None:
        line = json.dumps(nan_to_null(answer(row, prediction)), ensure_ascii=False, default=str)
        print(line, file=file, flush=True)

    return write


def answer(row: Row, prediction: Prediction) -> dict[str, Any]:
    """Merge the columns of a row with its prediction."""
    predicted = {name: _rounded(value) for name, value in prediction.to_json().items()}
    columns = row.columns or row.fields
    of_labels = {
        f"{name}.{label}"  # as `_flat` names it
        for name, value in predicted.items()
        if isinstance(value, dict)
        for label in value
    }
    kept: dict[str, Any] = {}
    for name, value in columns.items():
        free = name
        if name in predicted or name in of_labels:
            if name in REPEATED:
                continue
            while free in predicted or free in of_labels or free in columns:
                free = f"given_{free}"
        kept[free] = list(value) if isinstance(value, tuple) else value
    return {**kept, **predicted}


class _Table:
    """A CSV or TSV file, whose first row decides the columns."""

    def __init__(self, file: TextIO, ending: str) -> None:
        self._file, self._ending = file, ending
        self._columns: list[str] | None = None

    def write(self, row: Row, prediction: Prediction) -> None:
        """Write one record, and before the first the header."""
        cells = _flat(nan_to_null(answer(row, prediction)))
        if self._columns is None:
            self._columns = list(cells)
            self._record(self._columns, row)
        if more := cells.keys() - set(self._columns):
            raise UserError(
                f"{row.source}: the first row has no column {min(more)!r}: write a .jsonl, "
                "in which rows may have different columns"
            )
        self._record([cells.get(name, "") for name in self._columns], row)

    def _record(self, cells: Iterable[str], row: Row) -> None:
        if self._ending == ".csv":
            self._file.write(",".join(map(_quoted, cells)) + "\n")
            return
        line = "\t".join(cells := list(cells))
        if line.count("\t") >= len(cells) or "\n" in line or "\r" in line:
            raise UserError(f"{row.source}: a .tsv cannot hold a tab or a line break: write a .csv")
        self._file.write(line + "\n")


def _flat(values: dict[str, Any]) -> dict[str, str]:
    """Flatten nested objects into one cell per value."""
    cells: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            cells |= {f"{name}.{inner}": _cell(within) for inner, within in value.items()}
        else:
            cells[name] = _cell(value)
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, str) else str(value)


def _quoted(cell: str) -> str:
    """Quote a cell that holds a sign of the format, or a text that may stand for a missing value.

    One that was read without quotes stays without: it may have been a missing value.
    """
    may_be_missing = cell in MISSING and not isinstance(cell, Doubtful)
    if may_be_missing or any(sign in cell for sign in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _rounded(value: Any) -> Any:
    """Round numbers to six digits after the point, and convert tuples to lists."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
