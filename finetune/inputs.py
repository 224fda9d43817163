"""What predictions are asked of: the lines or rows of a file, or what arrives on a stream.

| source                                   | a row is                                             |
|------------------------------------------|------------------------------------------------------|
| .jsonl .csv .tsv .parquet .json .conll…  | what the task reads there                            |
| any other file                           | a line that is not blank: a text                     |
| a stream: standard input, a pipe         | a line that is a JSON object; any other is a text    |

A file may be packed: a .jsonl.gz is a .jsonl.

A stream is answered as it comes: one portion is what has arrived, so that a single line need not
wait for others, and lines that come faster than they are answered are taken together.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from cellar import NotJSON, UserError, parse_json
from corpora import Columns, Row, kind, read_lines
from finetune.task import AS_NAMED, Task

OF_ROWS = (".jsonl", ".csv", ".tsv", ".parquet", ".json", ".conll", ".conllu")
PORTION = 2**16
"""bytes of a stream that are read at once, at most"""


def file_rows(task: type[Task[Any, Any]], path: Path, columns: Columns = AS_NAMED) -> Iterator[Row]:
    """The rows of a file, one by one; `UserError` for a file that cannot be read."""
    if kind(path) in OF_ROWS:
        return task.rows(path, columns)
    lines = ((number, line.strip()) for number, line in read_lines(path))
    return (Row({"text": line}, path, number) for number, line in lines if line)


def arriving_rows(read: Callable[[int], bytes], name: Path) -> Iterator[Iterator[Row]]:
    """The rows of a stream, in portions: each is what has arrived, and waits for no more.

    `read` gives up to so many bytes, as soon as there are any, and none at the end. Raises
    `UserError` by the number of the line for one that is not UTF-8.
    """
    number = 1
    for lines in _arriving_lines(read):
        yield _rows(lines, name, number)
        number += len(lines)


def _arriving_lines(read: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    begun: list[bytes] = []
    while data := read(PORTION):
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            yield b"".join([*begun, whole]).split(b"\n")
            begun = []
        begun.append(rest)
    if last := b"".join(begun):
        yield [last]


def _rows(lines: Iterable[bytes], name: Path, first: int) -> Iterator[Row]:
    for number, raw in enumerate(lines, start=first):
        try:
            line = raw.decode("utf-8").removeprefix("\ufeff" if number == 1 else "").strip()
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            raise UserError(f"{name}:{number}: byte {byte:#04x} is not UTF-8") from None
        if line:
            yield Row(_fields(line, f"{name}:{number}"), name, number)


def _fields(line: str, place: str) -> dict[str, Any]:
    """Give a JSON object as it is; any other line as the text of a row."""
    try:
        fields = parse_json(line, place) if line.startswith("{") else None
    except NotJSON:
        fields = None
    return fields if isinstance(fields, dict) else {"text": line}
