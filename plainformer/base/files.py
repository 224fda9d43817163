"""Write files and folders atomically: in a scratch folder beside the target, then rename."""

import errno
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plainformer.base.errors import UserError
from plainformer.base.scratch import scratch_folder


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path, and rename it to `path` when the block succeeds.

    When the block raises, the temporary file is removed and `path` stays as it was. An existing
    file keeps its mode, a new one gets the default of the umask. A symbolic link is followed. A
    pipe or a character device (`/dev/stdout`, a FIFO) receives the bytes after the block.

    Raises:
        UserError: `path` is a folder, a block device or a socket.
        OSError: it cannot be written, or is read-only.
    """
    path = Path(path)
    if is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / "new"
            yield temporary
            with _named(path, path), temporary.open("rb") as source, path.open("ab") as stream:
                shutil.copyfileobj(source, stream)
        return
    target = _file_to_write(path)
    with _named(path, target), scratch_folder(target.parent) as scratch:
        temporary = scratch / "new"
        mode = _mode_of(target, temporary)
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)


def expanded(path: str | Path) -> Path:
    """Expand `~` to the user's home folder, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_stream(path: Path) -> bool:
    """Tell whether a path is a pipe, a character device, or an open file (/dev/stdout)."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or (stat.S_ISREG(mode) and _is_open(path))


def refuse_no_folder(out: Path | None) -> None:
    """Raise `UserError` where the folder of a file to write is not there."""
    if out is not None and not out.parent.is_dir():
        raise UserError(f"there is no folder {out.parent}: make it, or name another file")


def refuse_same_file(out: Path, source: str | Path | None) -> None:
    """Raise `UserError` where the output file would replace the input file."""
    if source is None or is_stream(out) or not (out.exists() and Path(source).exists()):
        return
    if out.samefile(source):
        raise UserError(f"{out} is the input file: choose another file for --out")


def _is_open(path: Path) -> bool:
    """Tell whether a path refers to an open file descriptor: /dev/stdout, /dev/fd/3."""
    while path.is_symlink():
        if path.parent.resolve().is_relative_to("/proc"):
            return True
        path = path.parent / path.readlink()
    return False


def _file_to_write(path: Path) -> Path:
    """Resolve symbolic links of a path to write; refuse a path that is not a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder: name a file")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is a block device or a socket: name a file")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return Path(os.path.realpath(path))


def _mode_of(target: Path, temporary: Path) -> int:
    """Create the temporary file; return its final mode: the old file's, or the umask's default."""
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)


@contextmanager
def _named(path: Path, target: Path) -> Iterator[None]:
    """Replace the temporary file's name in an error by the name of the file to write."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(f"{target.parent}/."):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder, and rename it to `path` when the block succeeds.

    An existing folder is replaced, and its mode kept; when the block raises, it stays unchanged. A
    symbolic link is followed.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    with scratch_folder(path.parent) as scratch:
        new, old = scratch / "new" / path.name, scratch / "old" / path.name
        new.mkdir(parents=True)
        old.parent.mkdir()
        yield new
        if path.is_dir():
            new.chmod(stat.S_IMODE(path.stat().st_mode))
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def remove_folder(folder: Path) -> None:
    """Remove a folder by renaming it first, so that an interruption leaves no partial folder."""
    with scratch_folder(folder.parent) as scratch:
        folder.rename(scratch / "gone")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically; a `Path` becomes a string."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def nan_to_null(value: Any) -> Any:
    """Copy a JSON-like value with None in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {name: nan_to_null(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_null(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
