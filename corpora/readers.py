"""Read texts to pretrain on, and rows of labelled examples, as a stream from any file format.

| kind        | a text is                 | a row is                                             |
|-------------|---------------------------|------------------------------------------------------|
| .jsonl      | the field "text"          | an object on a line                                  |
| .csv .tsv   | the column "text"         | a record under the header: see `corpora.tables`      |
| .parquet    | the column "text"         | a row                                                |
| any other   | a line that is not blank  | –                                                    |

Each may be packed (.gz .bz2 .xz .zst) and may be elsewhere: see `corpora.files`. Nothing but a
record, or a Parquet batch, is ever held whole. A fault is named by file and line; in a Parquet
file the line is the number of the row.
"""

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
    is_packed,
    open_file,
    suffix_of,
    warn_skipped,
)
from plainformer.corpora.lines import read_lines
from plainformer.corpora.rows import Row
from plainformer.corpora.tables import read_table

T = TypeVar("T")
Watch = Callable[[int], object] | None
"""told how many bytes of a file were read, as it is read"""

PARQUET_BATCH = 256
"""rows of a Parquet file that are held at once"""


def read_texts(paths: str | Path | Iterable[str | Path]) -> Iterator[str]:
    """Give every document under `paths`: files, folders (searched to the bottom), globs and URLs.

    The paths are looked up at once, and the files are read as the texts are asked for.
    Raises UserError for a path that names nothing, and for the faults of a file.
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
    """Give the documents of one file; white space at their ends is dropped, and blank ones are.

    `watch` is told of the bytes of the file that were read. Raises UserError for a file without
    text, and for a fault by its line.
    """
    texts: Iterator[str]
    if suffix_of(file) == ".parquet":
        texts = map(_text_of, _parquet(check_file(file), watch, only="text"))
    elif suffix_of(file) in _ROW_READERS:
        texts = map(_text_of, _ROW_READERS[suffix_of(file)](check_file(file), watch))
    elif suffix_of(file) == ".json":
        raise UserError(f"{file}: JSON is read as .jsonl, one object a line")
    else:
        texts = (line.strip() for _, line in read_lines(file, watch))
    return _some(filter(None, texts), f"{file} holds no text")


def has_rows(file: str | Path) -> bool:
    """Whether `read_rows` reads such a file, by its name."""
    return suffix_of(file) in _ROW_READERS


def read_rows(file: str | Path) -> Iterator[Row]:
    """Give the rows of a .jsonl, .csv, .tsv or .parquet file, packed or not.

    Values of .csv and .tsv are strings; those of .jsonl and .parquet have the types they are
    stored with. Raises UserError for a file of another kind, a file that is missing, empty or
    without rows, and a row that cannot be read.
    """
    file = check_file(file)
    reader = _ROW_READERS.get(suffix_of(file))
    if reader is None:
        raise UserError(f"{file}: labelled examples are read from {', '.join(_ROW_READERS)} files")
    return _some(reader(file), f"{file} holds no rows")


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
        raise NoText(complaint)


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
    """Give the rows; with `only`, of a file that has such a column, nothing else is read."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{file}: reading Parquet needs pyarrow: pip install pyarrow") from None
    if is_packed(file):
        raise UserError(f"{file}: Parquet is packed within; unpack the file first")
    try:
        number = 0
        # Buffered, a column is read as it is needed rather than a row group at once.
        options = {"buffer_size": BUFFER, "pre_buffer": False}
        with open_file(file, watch) as stream, parquet.ParquetFile(stream, **options) as table:
            columns = [only] if only in table.schema_arrow.names else None
            names = class_names(table.schema_arrow.metadata, file)
            for batch in table.iter_batches(batch_size=PARQUET_BATCH, columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    named = with_names(fields, names, f"{file}:{number}") if names else fields
                    yield Row(named, file, number)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from error


_ROW_READERS: dict[str, Callable[..., Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": _parquet,
}
