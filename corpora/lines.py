"""The lines of a text file, decoded one by one, so that a fault can be named by file and line."""

from collections.abc import Iterator
from pathlib import Path

from cellar import UserError


def check_file(path: str | Path) -> Path:
    """Give the path of a file that exists and is not empty; UserError for any other."""
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file in it")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return path


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Give each line of a UTF-8 file with its number from 1; a byte order mark is dropped.

    Lines keep their line break. Only `\\n` ends one: form feeds and the line separators of Unicode
    are part of the text. Raises UserError for a file that is missing, empty,
    binary or in another encoding.
    """
    path = check_file(path)
    try:
        with path.open("rb") as file:
            if b"\0" in file.read(8192):
                raise UserError(
                    f"{path} is not a text file in UTF-8: it holds zero bytes, as binary files "
                    "and UTF-16 do"
                )
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path}:{number}: byte {raw[error.start]:#04x} is not UTF-8; convert the "
                        f"file first, for example: iconv -f WINDOWS-1252 -t UTF-8 {path.name}"
                    ) from error
                if number == 1:
                    line = line.removeprefix("\ufeff")
                yield number, line
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
