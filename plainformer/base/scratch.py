"""Create scratch folders beside a destination, and recover those of interrupted processes.

    FOLDER/.plainformer-x1y2z3/lock      held by the process that writes
    FOLDER/.plainformer-x1y2z3/new/…     what is being written
    FOLDER/.plainformer-x1y2z3/old/…     the folder that it replaces (`base.files.atomic_folder`)
    FOLDER/.plainformer-x1y2z3/ready/…   complete: the files that FOLDER itself is to hold
                                         (`base.output_folder.replaced_folder`)

The system releases a lock when its process ends, however it ends. So the next writer in FOLDER
recognises the scratch folders of ended processes, completes or undoes their writes, and removes
them. Where there are no locks, those are the scratch folders older than a day.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from plainformer.base.errors import UserError
from plainformer.base.json_reader import parse_json
from plainformer.base.names import is_inside

if sys.platform != "win32":
    import fcntl

PREFIX = ".plainformer-"
LOCK = "lock"
OLD = 24 * 3600
"""Seconds after which a scratch folder counts as left over where there are no locks."""
MARK = ".plainformer"
"""The marker file of a folder: which command wrote it, and which files (see `read_mark`)."""


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process; return False if another process holds the lock.

    Where the file system or the operating system has no locks, the result is True.
    """
    return _lock(descriptor) is not False


def _lock(descriptor: int) -> bool | None:
    """Lock an open file as `try_lock` does; return None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_same_file(descriptor: int, path: Path) -> bool:
    """Tell whether `path` still refers to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; return the new ones, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty(folders: list[Path]) -> None:
    """Remove these folders, innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new scratch folder in `parent`, and remove it when the block ends.

    Leftovers of ended processes in `parent` are cleared first. When the block raises, parents that
    were made for it are removed, too.
    """
    made = make_folders(parent)
    try:
        clear_leftovers(parent)
        folder, lock = _make(parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except BaseException:
        remove_empty(made)
        raise


def _make(parent: Path) -> tuple[Path, int]:
    """Make a scratch folder that is already locked when it appears."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        if try_lock(lock) and is_same_file(lock, folder / LOCK):
            return folder, lock
        os.close(lock)


def clear_leftovers(parent: Path) -> None:
    """Finish or undo interrupted writes of ended processes in `parent`; remove their scratch."""
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        with suppress(OSError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                is_free = _lock(lock)
                if is_free is None:
                    is_free = time.time() - os.fstat(lock).st_mtime > OLD
                if is_free and is_same_file(lock, folder / LOCK):
                    _recover(folder, parent)
                    shutil.rmtree(folder)
            finally:
                os.close(lock)


def _recover(scratch: Path, parent: Path) -> None:
    """Restore a folder whose replacement was interrupted, or finish an interrupted install."""
    for old in scratch.glob("old/*"):
        if not (parent / old.name).exists():
            old.rename(parent / old.name)
    if (scratch / "ready").exists():
        install(scratch / "ready", parent)


def install(ready: Path, folder: Path) -> None:
    """Move the files of `ready` into `folder`, replacing those that its marker lists.

    Each step may be repeated: after an interruption, another call completes the work.
    """
    new = read_mark(ready)
    if new is None:  # the mark is moved last: the rest is done
        return
    old = read_mark(folder) or {}
    for name in sorted(set(old.get("files", ())) - set(new["files"])):
        path = folder / name
        path.unlink(missing_ok=True)
        remove_empty([parent for parent in path.parents if folder in parent.parents])
    for name in new["files"]:
        if (ready / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (ready / name).replace(folder / name)
    (ready / MARK).replace(folder / MARK)


def files_in(folder: Path) -> list[str]:
    """List the files in a folder and its subfolders by their relative names."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def write_mark(folder: Path, maker: str, files: list[str]) -> None:
    """Write the command and its files into the marker, in place, so that its lock stays valid.

    The marker is a single line: an interruption leaves either the old or the new one.
    """
    line = json.dumps({"made_by": maker, "files": files}).encode() + b"\n"
    descriptor = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line)
        os.ftruncate(descriptor, len(line))
    finally:
        os.close(descriptor)


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Read the marker of a folder: `made_by` and `files`; None if there is none."""
    try:
        line = (folder / MARK).read_bytes().partition(b"\n")[0]
        mark = parse_json(line, folder / MARK)
    except (OSError, UserError):
        return None
    if not isinstance(mark, dict) or not isinstance(mark.get("made_by"), str):
        return None
    files = mark.get("files")
    if not isinstance(files, list) or not all(isinstance(f, str) and is_inside(f) for f in files):
        return None
    return mark
