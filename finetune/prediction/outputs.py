"""Write predictions as they arrive: as JSON lines, or as a table with a header.

| file           | a prediction is                                                                |
|----------------|--------------------------------------------------------------------------------|
| .jsonl, stdout | a JSON object                                                                  |
| .csv           | a record; numbers by label have a column each: `probabilities.spam`            |
| .tsv           | the same between tabs, without quotes: no cell may hold a tab or a line break  |

A row keeps its columns, followed by the prediction. Where both have a column of one name, the value
of the row is kept as `given_NAME`: `label` is always the prediction.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from plainformer.base import UserError, atomic_path, is_stream, nan_to_null
from plainformer.corpora import Row
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
    names = row.named or {}
    kept: dict[str, Any] = {}
    for name, value in row.fields.items():
        if names.get(name, name) != name:
            continue  # another name of a column that is there
        value = list(value) if isinstance(value, tuple) else value
        if name not in predicted:
            kept[name] = value
        elif name not in REPEATED:
            kept[f"given_{name}"] = value
    return {**kept, **predicted}


class _Table:
    """A CSV or TSV file, whose first row decides the columns."""

    def __init__(self, file: TextIO, ending: str) -> None:
        self._file, self._ending = file, ending
        self._csv = csv.writer(file, lineterminator="\n")
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
            self._csv.writerow(cells)
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
    return str(value)


def _rounded(value: Any) -> Any:
    """Round numbers to six digits after the point, and convert tuples to lists."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
