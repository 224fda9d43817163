"""Read the inputs of predictions: the lines or rows of a file, or of a stream.

| source                                   | a row is                                             |
|------------------------------------------|------------------------------------------------------|
| .jsonl .csv .tsv .parquet .json .conll…  | a row of the task's format                           |
| any other file, here or at a URL         | a line that is not blank: a text                     |
| a stream: standard input, a pipe         | a line that is a JSON object; any other is a text    |

A file may be compressed: a .jsonl.gz is read as a .jsonl.

A stream is predicted as it arrives: a portion is the lines that have arrived. So a single line does
not wait for others, and lines that arrive together share a batch.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from plainformer.base import NotJSON, UserError, parse_json
from plainformer.corpora import Columns, Row, read_lines, suffix_of
from plainformer.corpora.lines import LONGEST_LINE
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.task import AS_NAMED, AnyTask

OF_ROWS = (".jsonl", ".csv", ".tsv", ".parquet", ".json", ".conll", ".conllu")
MAX_READ_BYTES = 2**16


STANDARD_INPUT = "standard input"


@dataclass(frozen=True)
class Inputs:
    """The inputs of predictions: some texts or a file; without both, standard input.

    Raises:
        UserError: there are both, or none and standard input is a terminal; or there are columns
            of what has none.
    """

    texts: tuple[str, ...] = ()
    file: str | None = None
    columns: tuple[str, ...] = ()
    """The columns of the file, as NAME=COLUMN; by default as in training."""

    def __post_init__(self) -> None:
        """Check that there is one source, and that it has columns if some are named."""
        if self.texts and self.file is not None:
            raise UserError("give either --text or --file, not both")
        is_piped = sys.stdin is not None and not sys.stdin.isatty()
        if not self.texts and self.file is None and not is_piped:
            raise UserError("give --text or --file, or pipe texts into standard input")
        if self.columns and not self.has_columns:
            lines = f"{self.file} is read as a text in each line, which has no columns: leave "
            raise UserError(
                "--columns names columns of a file, and --text has none: leave one of them out"
                if self.texts
                else f"{lines}--columns out, or give rows ({' '.join(OF_ROWS)})"
            )

    @property
    def is_stream(self) -> bool:
        """Tell whether the input can be read only once: standard input, a pipe, a device."""
        if self.texts:
            return False
        if self.file in (None, "-"):
            return True
        path = Path(str(self.file))
        return path.is_fifo() or path.is_char_device()

    @property
    def has_columns(self) -> bool:
        """Tell whether the inputs are rows, or may be: those of a stream."""
        if self.texts:
            return False
        return self.is_stream or suffix_of(str(self.file)) in OF_ROWS

    def shared(self, columns: Sequence[str], other: str | None) -> "Inputs":
        """Return the inputs with columns that they share with another file, if there is one.

        Inputs without columns leave them to the other file.
        """
        if other is not None and not self.has_columns:
            return self
        return replace(self, columns=tuple(columns))

    def portions(self, task: AnyTask) -> Iterator[Iterable[Row]]:
        """Yield the rows in portions; each is predicted before the next is read."""
        columns = task.naming(self.columns, task.columns)
        if self.texts:
            yield as_rows(self.texts)
        elif self.file in (None, "-"):
            arriving = arriving_rows(partial(os.read, sys.stdin.fileno()), STANDARD_INPUT)
            yield from (with_texts(task, columns.of(rows)) for rows in arriving)
        elif self.is_stream:
            with Path(str(self.file)).open("rb", buffering=0) as stream:
                arriving = arriving_rows(stream.read, str(self.file))
                yield from (with_texts(task, columns.of(rows)) for rows in arriving)
        else:
            yield with_texts(task, file_rows(type(task), str(self.file), columns))

    def first(self, task: AnyTask, limit: int) -> Iterator[Row]:
        """Yield all texts, or the first rows of a file; say on stderr where it has more."""
        rows = (row for portion in self.portions(task) for row in portion)
        yield from islice(rows, None if self.texts else limit)
        if next(rows, None) is not None:
            print(f"only the first {limit:,} inputs were read: see --limit", file=sys.stderr)

    def count(self, task: AnyTask) -> int | None:
        """Count the rows, up to one that cannot be read; None for a stream."""
        if self.is_stream or "://" in (self.file or ""):
            return None
        number = 0
        with suppress(UserError):
            for portion in self.portions(task):
                for _ in portion:
                    number += 1
        return number


def with_texts(task: AnyTask, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the same rows; raise `UserError` by file and line for a blank text the task reads."""
    for row in rows:
        text = row.fields.get("text")
        is_blank = isinstance(text, str) and not text.strip()
        if is_blank and "text" in task.COLUMNS and not row.has("words"):
            raise UserError(f"{row.source}: the text is empty")
        yield row


def file_rows(task: type[AnyTask], file: str, columns: Columns = AS_NAMED) -> Iterator[Row]:
    """Yield the rows of a file or URL; raise `UserError` for a file that cannot be read."""
    path = file if "://" in file else Path(file)
    if suffix_of(path) in OF_ROWS:
        return task.rows(path, columns)
    lines = ((number, line.strip()) for number, line in read_lines(path))
    return (Row({"text": line}, path, number) for number, line in lines if line)


def arriving_rows(read: Callable[[int], bytes], name: str) -> Iterator[Iterator[Row]]:
    """Yield the rows of a stream in portions: each is the rows that have arrived by now.

    `read(n)` returns up to n bytes as soon as there are any, and none at the end. Raises
    `UserError` with the line number for a line that is not UTF-8.
    """
    number = 1
    for lines in _arriving_lines(read, name):
        yield _rows(lines, name, number)
        number += len(lines)


def _arriving_lines(read: Callable[[int], bytes], name: str) -> Iterator[list[bytes]]:
    begun: list[bytes] = []
    size = 0
    while data := read(MAX_READ_BYTES):
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            yield b"".join([*begun, whole]).split(b"\n")
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > LONGEST_LINE:
            raise UserError(f"{name}: a line is longer than {LONGEST_LINE >> 20} MiB: split it")
    if last := b"".join(begun):
        yield [last]


def _rows(lines: Iterable[bytes], name: str, first: int) -> Iterator[Row]:
    for number, raw in enumerate(lines, start=first):
        try:
            line = raw.decode("utf-8").removeprefix("\ufeff" if number == 1 else "").strip()
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            raise UserError(f"{name}:{number}: byte {byte:#04x} is not UTF-8") from None
        if line:
            yield Row(_fields(line, f"{name}:{number}"), name, number)


def _fields(line: str, place: str) -> dict[str, Any]:
    """Parse a line that is a JSON object; return any other line as the text of a row."""
    try:
        fields = parse_json(line, place) if line.startswith("{") else None
    except NotJSON:
        fields = None
    return fields if isinstance(fields, dict) else {"text": line}
