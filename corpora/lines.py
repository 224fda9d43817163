"""Read a text file line by line, so that errors can name the file and the line."""

import codecs
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from plainformer.base import UserError
from plainformer.corpora.files import File, check_file, open_file

LONGEST_LINE = 1 << 26
"""Bytes of a line at most, since a whole line is held in memory."""
WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte order mark, longer marks first."""


def read_lines(
    file: str | Path, watch: Callable[[int], object] | None = None
) -> Iterator[tuple[int, str]]:
    """Yield each line of a file with its number, from 1.

    The encoding is UTF-8, or that of the byte order mark: UTF-16 (Excel's "Unicode text") or
    UTF-32; the mark is dropped. Lines keep their line break. Only `\\n` ends a line: form feeds and
    the line separators of Unicode are part of the text. `watch` is called with the number of bytes
    after each read.

    Raises:
        UserError: the file is missing, empty, binary, damaged or in another encoding, its lines
            end in carriage returns, or a line is longer than `LONGEST_LINE` bytes.
    """
    file = check_file(file)
    with open_file(file, watch) as stream:
        begin = stream.peek(8192)[:8192]
        wide = next((name for mark, name in WIDE.items() if begin.startswith(mark)), None)
        if wide is not None:
            yield from _wide_lines(stream, wide, file)
            return
        if b"\0" in begin:
            raise UserError(
                f"{file} is not UTF-8 text: it contains zero bytes. It is a binary file, or UTF-16 "
                f"to be converted: iconv -f UTF-16LE -t UTF-8 {Path(file).name}"
            )
        number = 0
        while raw := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise UserError(
                    f"{file}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB: split it, "
                    "for example at each sentence"
                )
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{file}:{number}: byte {raw[error.start]:#04x} is not UTF-8; convert the "
                    "file first: in Excel save it as CSV UTF-8, elsewhere for example "
                    f"iconv -f WINDOWS-1252 -t UTF-8 {Path(file).name}"
                ) from error
            if number == 1:
                line = line.removeprefix("\ufeff")
                _refuse_returns(line, file)
            if "\0" in line:
                raise UserError(f"{file}:{number}: the line contains a zero byte: remove it")
            yield number, line


def _refuse_returns(first: str, file: File) -> None:
    """Raise `UserError` where carriage returns alone end the lines, by the first line."""
    if "\r" in first.rstrip("\r\n"):
        raise UserError(f"{file}: its lines end in carriage returns: save it with line feeds")


def _wide_lines(stream: io.BufferedReader, encoding: str, file: File) -> Iterator[tuple[int, str]]:
    text = io.TextIOWrapper(stream, encoding, newline="\n")
    number = 0
    try:
        while line := text.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise UserError(
                    f"{file}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB"
                )
            if number == 1:
                _refuse_returns(line, file)
            yield number, line
    except UnicodeError as error:
        raise UserError(f"{file}:{number + 1}: not {encoding.upper()}: {error}") from None
    finally:
        text.detach()
