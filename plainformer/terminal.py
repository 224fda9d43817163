"""Make the standard streams and the terminal size safe to use in any environment.

A stream may be closed (`>&-`), have another encoding (`PYTHONIOENCODING=ascii`), or lose its reader
(`| head`). The commands need no code for these cases.
"""

import codecs
import io
import os
import stat
import sys
from typing import Any

MIN_COLUMNS, MAX_COLUMNS = 20, 1000


def prepare_streams() -> None:
    """Open closed streams, escape unencodable characters, and ignore implausible terminal sizes."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next opened file gets this descriptor, and what is printed goes into it.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    if sys.stderr is sys.__stderr__ and stat.S_ISFIFO(os.fstat(2).st_mode):
        encoding = getattr(sys.stderr, "encoding", None)
        raw = io.BufferedWriter(ClosedPipeWriter(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, write_through=True)
    codecs.register_error("json_escapes", json_escapes)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="json_escapes")
    for name, least in (("COLUMNS", MIN_COLUMNS), ("LINES", 1)):
        value = os.environ.get(name, "")
        if value and not (
            value.isascii() and value.isdigit() and least <= int(value) <= MAX_COLUMNS
        ):
            del os.environ[name]


class ClosedPipeWriter(io.FileIO):
    """Write to a pipe, and continue without error after its reader has closed it."""

    def write(self, data: Any) -> int:
        """Write bytes; discard them once the reader has closed the pipe."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            discard_output("stderr")
            return len(data)


def json_escapes(error: UnicodeError) -> tuple[str, int]:
    """Escape unencodable characters as JSON does, so that JSON output stays valid."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[i : i + 2] for i in range(0, len(units), 2))
    return "".join(f"\\u{pair.hex()}" for pair in pairs), error.end


def discard_output(stream: str) -> None:
    """Discard the buffer of a stream whose reader has closed it."""
    number = {"stdout": 1, "stderr": 2}[stream]
    device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(device, number)
    os.close(device)
