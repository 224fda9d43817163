"""What users have, read as a stream: texts to pretrain on, and rows of labelled examples.

| suffix      | a text is                 | a row is                                             |
|-------------|---------------------------|------------------------------------------------------|
| .jsonl      | the field "text"          | an object on a line                                  |
| .csv        | the column "text"         | a record under the header, quoted as in RFC 4180     |
| .tsv        | the column "text"         | a line under the header; a quote is a quote          |
| .parquet    | the column "text"         | a row                                                |
| any other   | a line that is not blank  | –                                                    |

Nothing but a Parquet batch is ever held whole. A fault is named by file and line; in a Parquet
file the line is the number of the row.
"""

import csv
import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cellar import UserError
from corpora.lines import check_file, read_lines

T = TypeVar("T")

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled example, and where it stands."""

    fields: dict[str, Any]
    file: Path
    line: int

    def require(self, *names: str) -> list[Any]:
        """Give the values of these fields; UserError names one that is missing and those there."""
        for name in names:
            if name not in self.fields:
                there = ", ".join(self.fields) or "none"
                raise UserError(f"{self.file}:{self.line}: no column {name!r}; columns: {there}")
            if self.fields[name] is None:
                raise UserError(f"{self.file}:{self.line}: no value in column {name!r}")
        return [self.fields[name] for name in names]

    def string(self, name: str) -> str:
        """Give the value of a field as text; UserError for a list or an object, too."""
        (value,) = self.require(name)
        if isinstance(value, list | dict):
            found = f"{value!r:.40}"
            raise UserError(f"{self.file}:{self.line}: column {name!r} is not one text: {found}")
        return str(value)


def read_texts(paths: str | Path | Iterable[str | Path]) -> Iterator[str]:
    """Give every document under `paths`: files, folders (searched to the bottom) and globs.

    A plain text file holds a document on each line that is not blank; white space at its ends is
    dropped. The paths are looked up at once, and the files are read as the texts are asked for.
    Raises UserError for a path that names nothing, and for the faults of a file.
    """
    return _texts(find_files([paths] if isinstance(paths, str | Path) else paths))


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Give the files that these files, folders and globs name, in a fixed order.

    Of a folder, hidden files and files of a suffix that no reader here knows are passed over.
    """
    files: list[Path] = []
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            found = [p for p in path.rglob("*") if _is_known(p) and not _is_hidden(p, path)]
            if not found:
                raise UserError(f"{path} holds no {', '.join(SUFFIXES)} file")
        elif path.exists() or not glob.has_magic(str(given)):
            found = [path]
        else:
            matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (takes absolute patterns)
            found = [p for p in map(Path, matches) if p.is_file()]
            if not found:
                raise UserError(f"no file matches {given}")
        files += sorted(check_file(file) for file in found)
    if not files:
        raise UserError("no file was named to read texts from")
    return list(dict.fromkeys(files))


def read_rows(path: str | Path) -> Iterator[Row]:
    """Give the rows of a .jsonl, .csv, .tsv or .parquet file.

    Values of .csv and .tsv are strings; those of .jsonl and .parquet have the types they are
    stored with. Raises UserError for a file of another kind, a file that is missing, empty or
    without rows, and a row that cannot be read.
    """
    path = check_file(path)
    reader = _ROW_READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: labelled examples are read from {', '.join(_ROW_READERS)} files")
    return _some(reader(path), f"{path} holds no rows")


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(name.startswith(".") for name in path.relative_to(folder).parts)


def _texts(files: list[Path]) -> Iterator[str]:
    texts: Iterator[str]
    for path in files:
        if path.suffix.lower() in _ROW_READERS:
            texts = map(_text_of, read_rows(path))
        elif path.suffix.lower() == ".json":
            raise UserError(f"{path}: JSON is read as .jsonl, one object a line")
        else:
            texts = (line.strip() for _, line in read_lines(path))
        yield from _some(filter(None, texts), f"{path} holds no text")


def _text_of(row: Row) -> str:
    (text,) = row.require("text")
    if not isinstance(text, str):
        raise UserError(f"{row.file}:{row.line}: the text is not a string: {text!r:.40}")
    return text.strip()


def _some(items: Iterator[T], complaint: str) -> Iterator[T]:
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise UserError(complaint)


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if "\\u" in line:  # an escape can write half of a surrogate pair, which is not text
                json.dumps(fields, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not a line of JSON: {error}") from error
        if not isinstance(fields, dict):
            raise UserError(f"{path}:{number}: not a JSON object: {line.strip():.40}")
        yield Row(fields, path, number)


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    records = csv.reader((line for _, line in read_lines(path)), strict=True)
    return _under_header(_numbered(records, path), path)


def _numbered(records: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    while True:
        start = records.line_num + 1
        try:
            values = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path}:{start}: not a record of CSV: {error}") from error
        yield start, values


def _tsv(path: Path) -> Iterator[Row]:
    lines = ((number, line.rstrip("\r\n")) for number, line in read_lines(path))
    return _under_header(((n, line.split("\t") if line else []) for n, line in lines), path)


def _under_header(records: Iterator[tuple[int, list[str]]], path: Path) -> Iterator[Row]:
    _, header = next(records, (1, []))
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice or not header:
        fault = f"the header names {twice[0]!r} twice" if twice else "the header is blank"
        raise UserError(f"{path}:1: {fault}")
    for line, values in records:
        if not values:
            continue
        if len(values) != len(header):
            raise UserError(
                f"{path}:{line}: {len(values)} values under {len(header)} columns: "
                f"{', '.join(header)}"
            )
        yield Row(dict(zip(header, values, strict=True)), path, line)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{path}: Parquet is read with pyarrow: pip install 'plainformer[parquet]'"
        ) from None
    try:
        number = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(fields, path, number)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file that can be read: {error}") from error


_ROW_READERS = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet}
