"""The lines of a text file, decoded one by one, so that a fault can be named by file and line."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cellar import UserError
from corpora.files import check_file, open_file

LONGEST_LINE = 1 << 26
"""bytes of a line at most: what a reader may have to hold"""


def read_lines(
    file: str | Path, watch: Callable[[int], object] | None = None
) -> Iterator[tuple[int, str]]:
    """Give each line of a UTF-8 file with its number from 1; a byte order mark is dropped.

    Lines keep their line break. Only `\\n` ends one: form feeds and the line separators of Unicode
    are part of the text. `watch` is told of the bytes that were read. Raises UserError for a file
    that is missing, empty, binary, damaged or in another encoding, and for a line that is longer
    than `LONGEST_LINE` bytes.
    """
    file = check_file(file)
    with open_file(file, watch) as stream:
        if b"\0" in stream.peek(8192)[:8192]:
            raise UserError(
                f"{file} is not a text file in UTF-8: it holds zero bytes, as binary files "
                "and UTF-16 do"
            )
        number = 0
        while raw := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise UserError(
                    f"{file}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB: break it, "
                    "for example at each sentence"
                )
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{file}:{number}: byte {raw[error.start]:#04x} is not UTF-8; convert the "
                    f"file first, for example: iconv -f WINDOWS-1252 -t UTF-8 {Path(file).name}"
                ) from error
            yield number, line.removeprefix("\ufeff") if number == 1 else line
