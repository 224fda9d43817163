"""Lock the output folder of a command, and protect files that it did not write.

A command writes only into a folder that is new, empty, or written by the same command before. The
marker file `.plainformer` in the folder records the command; other hidden files are ignored and
kept. The command holds a lock on the marker, which the system releases when the process ends.
"""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plainformer.base.errors import UserError
from plainformer.base.scratch import (
    MARK,
    clear_leftovers,
    files_in,
    install,
    is_same_file,
    make_folders,
    read_mark,
    remove_empty,
    scratch_folder,
    try_lock,
    write_mark,
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk; they are raised unchanged, since the run can be resumed later."""
SECONDS_BETWEEN_TRIES = 0.2


@contextmanager
def output_folder(
    folder: str | Path, maker: str, *, own: bool = False, wait: bool = False
) -> Iterator[None]:
    """Create, mark and lock `folder` for the command `maker`, which writes into it.

    `own`: the caller has verified that the command wrote the folder. When nothing was written, the
    folder is removed, with the parents that were made for it. `wait`: until another process that
    writes into the folder has ended.

    Raises:
        UserError: the folder holds files that the command did not write, is locked by another
            process, or cannot be written.
    """
    with _held(folder, maker, own=own, exactly=False, wait=wait):
        yield


@contextmanager
def replaced_folder(folder: str | Path, maker: str) -> Iterator[Path]:
    """Lock `folder` for the command `maker`, and yield a temporary folder for its new files.

    All of them replace the old files when the block succeeds; otherwise nothing changes.

    Raises:
        UserError: as `output_folder`, or the folder holds any file that the command did not write.
    """
    folder = Path(os.path.realpath(folder))
    with (
        _held(folder, maker, own=False, exactly=True),
        scratch_folder(folder) as scratch,
    ):
        new = scratch / "new"
        new.mkdir()
        yield new
        write_mark(new, maker, files_in(new))
        install(new.rename(scratch / "ready"), folder)


@contextmanager
def _held(
    path: str | Path, maker: str, *, own: bool, exactly: bool, wait: bool = False
) -> Iterator[None]:
    folder = Path(os.path.realpath(path))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{path} is not a folder: choose another")
    made: list[Path] = []
    mark = None
    try:
        made = make_folders(folder)
        clear_leftovers(folder)
        _refuse_others(folder, maker, own, exactly, path)
        was_empty, had_mark = not _visible(folder), (folder / MARK).exists()
        mark = _lock(folder, path, wait)
        _refuse_others(folder, maker, own, exactly, path)
        if not had_mark:
            write_mark(folder, maker, [])
    except BaseException as error:
        if mark is not None:
            os.close(mark)
        remove_empty(made)
        if isinstance(error, OSError) and error.errno not in FULL:
            raise UserError(f"cannot write to {path}: {error.strerror}") from None
        raise
    has_failed = True
    try:
        yield
        has_failed = False
    finally:
        with suppress(OSError):
            is_empty = not _visible(folder)
            if is_empty or (has_failed and not (had_mark or was_empty)):
                (folder / MARK).unlink(missing_ok=True)
            if is_empty:
                remove_empty(made or [folder] * had_mark)
        os.close(mark)


def _refuse_others(folder: Path, maker: str, own: bool, exactly: bool, shown: object) -> None:
    """Raise `UserError` where a folder holds files that `maker` did not write."""
    strangers = _visible(folder)
    if own or not strangers:
        return
    mark = read_mark(folder)
    if mark is not None:
        if mark["made_by"] != maker:
            raise UserError(
                f"{shown} was written by `plainformer {mark['made_by']}`: choose another folder"
            )
        visible = (name for name in files_in(folder) if not re.search(r"(^|/)\.", name))
        strangers = sorted(set(visible) - set(mark["files"])) if exactly else []
    if strangers:
        raise UserError(
            f"{shown} holds files that `plainformer {maker}` did not write ({strangers[0]}): "
            "choose another folder"
        )


def _lock(folder: Path, shown: object, wait: bool) -> int:
    """Open and lock the marker file of a folder, at once or after another process."""
    while True:
        mark = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(mark):
            os.close(mark)
            if wait:
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            raise UserError(
                f"another process is writing to {shown}: wait for it, or choose another folder"
            )
        if is_same_file(mark, folder / MARK):
            return mark
        os.close(mark)


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
