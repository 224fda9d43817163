"""Stream texts for pretraining, and rows of labelled examples, from files of any format.

| format      | text                      | row                                                  |
|-------------|---------------------------|------------------------------------------------------|
| .jsonl      | the field "text"          | a JSON object, one per line                          |
| .csv .tsv   | the column "text"         | a record (see `corpora.tables`)                      |
| .parquet    | the column "text"         | a row                                                |
| any other   | each line, if not blank   | –                                                    |

.ndjson and .jsonlines are other names of .jsonl. Files may be compressed (.gz .bz2 .xz .zst) and
remote (see `corpora.files`). Only one record, or one batch of Parquet rows, is held in memory.
Errors name the file and the line; the line of a Parquet file is the number of the row.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from plainformer.base import UserError, parse_json
from plainformer.corpora.class_labels import class_names, with_names
from plainformer.corpora.files import (
    BUFFER,
    File,
    NoText,
    check_file,
    find_files,
    is_compressed,
    open_file,
    suffix_of,
    warn_skipped,
)
from plainformer.corpora.lines import read_lines
from plainformer.corpora.rows import Row
from plainformer.corpora.tables import read_table

T = TypeVar("T")
Watch = Callable[[int], object] | None
"""A function that is called with the number of bytes after each read from a file."""

PARQUET_BATCH = 256  # rows


def read_texts(paths: str | Path | Iterable[str | Path]) -> Iterator[str]:
    """Yield every document in `paths`: files, folders with their subfolders, globs and URLs.

    The paths are resolved by the call itself, the files are read during the iteration.

    Raises:
        UserError: a path names no file, or a file cannot be read.
    """
    return _texts_of(find_files([paths] if isinstance(paths, str | Path) else paths))


def _texts_of(files: Sequence[File]) -> Iterator[str]:
    empty: list[NoText] = []
    for file in files:
        try:
            yield from read_documents(file)
        except NoText as fault:
            empty.append(fault)
            if len(empty) == len(files):
                raise
            warn_skipped(fault)


def read_documents(file: File, watch: Watch = None) -> Iterator[str]:
    """Yield the documents of one file, stripped of white space, without blank ones.

    `watch` is called with the number of bytes after each read.

    Raises:
        UserError: the file has no text, or a line is invalid.
    """
    texts: Iterator[str]
    if suffix_of(file) == ".parquet":
        texts = map(_text_of, _parquet(check_file(file), watch, only="text"))
    elif suffix_of(file) in _ROW_READERS:
        texts = map(_text_of, _ROW_READERS[suffix_of(file)](check_file(file), watch))
    elif suffix_of(file) == ".json":
        raise UserError(f"{file}: .json is not supported: write .jsonl, one object per line")
    else:
        texts = (line.strip() for _, line in read_lines(file, watch))
    return _not_empty(filter(None, texts), f"{file} has no text")


def has_rows(file: str | Path) -> bool:
    """Tell by its name whether `read_rows` can read a file."""
    return suffix_of(file) in _ROW_READERS


def read_rows(file: str | Path) -> Iterator[Row]:
    """Yield the rows of a .jsonl, .csv, .tsv or .parquet file, compressed or not.

    Values of .csv and .tsv are strings; those of .jsonl and .parquet have their stored types.

    Raises:
        UserError: the file has another format, is missing, or has no rows, or a row is invalid.
    """
    file = check_file(file)
    reader = _ROW_READERS.get(suffix_of(file))
    if reader is None:
        raise UserError(f"{file}: labelled examples are read from {', '.join(_ROW_READERS)} files")
    return _not_empty(reader(file), f"{file} has no rows")


def _text_of(row: Row) -> str:
    (text,) = row.require("text")
    if not isinstance(text, str):
        raise UserError(f"{row.source}: the text is not a string: {text!r:.40}")
    return text.strip()


def _not_empty(items: Iterator[T], fault: str) -> Iterator[T]:
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise NoText(fault)


def _jsonl(file: File, watch: Watch = None) -> Iterator[Row]:
    for number, line in read_lines(file, watch):
        line = line.strip()
        if not line:
            continue
        fields = parse_json(line, f"{file}:{number}")
        if not isinstance(fields, dict):
            raise UserError(f"{file}:{number}: not a JSON object: {line:.40}")
        yield Row(fields, file, number)


def _parquet(file: File, watch: Watch = None, only: str | None = None) -> Iterator[Row]:
    """Yield the rows; read the column `only` alone, if it is given and the file has it."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{file}: reading Parquet needs pyarrow: pip install pyarrow") from None
    if is_compressed(file):
        raise UserError(f"{file}: Parquet is compressed internally: decompress the file first")
    try:
        number = 0
        # With a buffer, pyarrow reads pages as needed instead of a whole row group.
        options = {"buffer_size": BUFFER, "pre_buffer": False}
        with open_file(file, watch) as stream, parquet.ParquetFile(stream, **options) as table:
            given = table.schema_arrow.names
            columns = [only] if only in given else None
            twice = [name for name, count in Counter(given).items() if count > 1]
            if set(twice).intersection(columns or given):
                raise UserError(f"{file}: two columns are named {twice[0]!r}: rename one")
            names = class_names(table.schema_arrow.metadata, file)
            for batch in table.iter_batches(batch_size=PARQUET_BATCH, columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    named = with_names(fields, names, f"{file}:{number}") if names else fields
                    yield Row(named, file, number)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a valid Parquet file: {error}") from error
    except (OverflowError, ValueError) as error:  # a date after 9999, a time in nanoseconds
        raise UserError(
            f"{file}: a value that Python cannot hold ({error}): drop its column, or write it as "
            "text"
        ) from error


_ROW_READERS: dict[str, Callable[..., Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": _parquet,
}
