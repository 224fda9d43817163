"""Open a local or remote file, packed or not, as a stream of its unpacked bytes.

| suffix | unpacked with                                        |
|--------|------------------------------------------------------|
| .gz    | gzip                                                 |
| .bz2   | bz2                                                  |
| .xz    | lzma                                                 |
| .zst   | compression.zstd (backports.zstd before Python 3.14) |

A file that is here is a `Path`. One that is elsewhere is a URL: of http:// and https:// one file is
read (`corpora.web`), every other one `fsspec` opens, with folders and globs: s3://, gs://, hf://,
memory:// … Either is read as a stream: only a buffer of it is ever held.
"""

import glob
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from plainformer.base import UserError, closest
from plainformer.corpora.web import WebFile, stamp_of

File = Path | str
"""a file that is here, or the URL of one that is elsewhere"""

KINDS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
"""what is picked from a folder, packed or not"""
PACKED: dict[str, tuple[str, ...]] = {
    ".gz": ("gzip",),
    ".bz2": ("bz2",),
    ".xz": ("lzma",),
    ".zst": ("compression.zstd", "backports.zstd"),
}
"""the modules that unpack, the first that is there"""
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
BUFFER = 1 << 17


class NoText(UserError):
    """A file without text; it is skipped if others were given, too."""


def warn_skipped(fault: NoText) -> None:
    """Warn that a file is skipped."""
    print(f"warning: {fault}: skipped", file=sys.stderr)


def find_files(paths: Iterable[str | Path]) -> list[File]:
    """List the files that these files, folders, globs and URLs name, in a fixed order.

    In a folder, hidden files and files of unknown formats are skipped, and so are empty files among
    others. Raises UserError for a name without files, and where all files are empty.
    """
    files: list[File] = []
    empty: list[NoText] = []
    for given in paths:
        if given == "":
            raise UserError("an empty path names no file")
        find = _elsewhere if _is_url(given) else _here
        for file in sorted(find(str(given))):
            try:
                files.append(check_file(file))
            except NoText as fault:
                empty.append(fault)
    if not files:
        raise empty[0] if empty else UserError("no file was named to read texts from")
    for found in empty:
        warn_skipped(found)
    return list(dict.fromkeys(files))


def expanded(path: str | Path) -> Path:
    """Expand `~` to the user's home folder; leave the path as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_file(file: File) -> File:
    """Give a file that exists and is not empty, as `Path` or URL; UserError for any other."""
    if file == "":
        raise UserError("an empty path names no file")
    if suffix_of(file) in SPREADSHEETS:
        raise UserError(f"{file} is a spreadsheet: save it as CSV UTF-8 or as Parquet")
    if _is_url(file):
        if stamp(file)["bytes"] == 0:
            raise NoText(f"{file} is empty")
        return str(file)
    path = expanded(file)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file in it")
        if path.stat().st_size == 0:
            raise NoText(f"{path} is empty")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}{_near(path)}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return path


def _near(path: Path) -> str:
    """Suggest the file in the same folder with the most similar name, if there is one."""
    try:
        names = {other.stem: other.name for other in path.parent.iterdir() if other.is_file()}
    except OSError:
        return ""
    near = closest(path.stem, names)
    return "" if near is None else f"; did you mean {path.with_name(names[near])}?"


def suffix_of(file: File) -> str:
    """Give the suffix that says how a file is read: ".jsonl" of a.jsonl and of a.jsonl.gz."""
    path = _name(file)
    return Path(path.stem if path.suffix.lower() in PACKED else path.name).suffix.lower()


def is_packed(file: File) -> bool:
    """Whether a file has to be unpacked."""
    return _name(file).suffix.lower() in PACKED


def stamp(file: File) -> dict[str, int | str | None]:
    """Give what tells a file from its earlier self: how many bytes it has, and when it was written.

    Of a file elsewhere it is what its system says; None where that says nothing.
    """
    if not _is_url(file):
        state = Path(file).stat()
        return {"bytes": state.st_size, "modified": state.st_mtime_ns}
    if _is_web(file):
        return stamp_of(str(file))
    with _asking(file):
        system, path = _system(str(file))
        info = system.info(path)
    known = (info[name] for name in ("ETag", "etag", "LastModified", "mtime") if name in info)
    return {"bytes": info.get("size"), "modified": next(map(str, known), None)}


@contextmanager
def open_file(
    file: File, watch: Callable[[int], object] | None = None
) -> Iterator[io.BufferedReader]:
    """Open a file to read the bytes that it holds, unpacked.

    `watch` is told how many bytes of the file itself were read, again and again. Raises UserError
    for a file that cannot be read, and for one whose packing is damaged or cut short.
    """
    with ExitStack() as open_files:
        faults: tuple[type[Exception], ...] = (OSError,)
        if _is_web(file):
            raw: Any = open_files.enter_context(WebFile(str(file)))
        elif _is_url(file):
            faults = (Exception,)  # each system has errors of its own
            with _asking(file):
                system, path = _system(str(file))
                raw = open_files.enter_context(system.open(path, "rb"))
        else:
            try:
                raw = open_files.enter_context(Path(file).open("rb", buffering=0))
            except OSError as error:
                raise UserError(f"cannot read {file}: {error.strerror}") from error
        stream: io.BufferedReader = io.BufferedReader(
            _Watched(raw, watch, faults, f"cannot read {file}"), BUFFER
        )
        if is_packed(file):
            module = _unpacker(file)
            damage = [vars(module)[n] for n in ("LZMAError", "ZstdError") if n in vars(module)]
            unpacked = open_files.enter_context(module.open(stream, "rb"))
            faults = (OSError, EOFError, zlib.error, *damage)
            fault = f"{file} is damaged or cut short"
            stream = io.BufferedReader(_Watched(unpacked, None, faults, fault), BUFFER)
        yield stream


class _Watched(io.RawIOBase):
    """A file of which each read is told, and whose `faults` are told as the user's `fault`."""

    def __init__(
        self,
        inner: Any,
        watch: Callable[[int], object] | None,
        faults: tuple[type[Exception], ...],
        fault: str,
    ) -> None:
        self._inner, self._watch, self._faults, self._fault = inner, watch, faults, fault

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._inner.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._inner.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except UserError:
            raise
        except self._faults as error:
            raise UserError(f"{self._fault}: {_reason(error)}") from error
        buffer[: len(data)] = data
        if self._watch:
            self._watch(len(data))
        return len(data)


def _is_url(given: str | Path) -> bool:
    return isinstance(given, str) and "://" in given


def _is_web(file: str | Path) -> bool:
    return isinstance(file, str) and file.lower().startswith(("http://", "https://"))


def _name(file: File) -> PurePosixPath | Path:
    if isinstance(file, Path):
        return file
    if not _is_web(file):
        return PurePosixPath(file)
    try:
        return PurePosixPath(urlsplit(file).path)  # behind the ? stands what is asked of it
    except ValueError as error:
        raise UserError(f"{file} is not a valid URL: {error}") from None


def _unpacker(file: File) -> ModuleType:
    for name in PACKED[_name(file).suffix.lower()]:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UserError(f"{file}: reading .zst needs backports.zstd: pip install backports.zstd")


def _here(given: str) -> list[File]:
    path = expanded(given)
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_file() and _is_picked(p.relative_to(path))]
        if not found:
            raise UserError(f"{path} holds no {', '.join(KINDS)} file")
    elif path.exists() or not glob.has_magic(given):
        found = [path]
    else:
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (takes absolute patterns)
        found = [p for p in map(Path, matches) if p.is_file()]
        if not found:
            raise UserError(f"no file matches {given}")
    return list(found)


def _elsewhere(given: str) -> list[File]:
    if _is_web(given):
        if not _name(given).name or "*" in given or given.endswith("/"):
            raise UserError(f"{given} names no file: on the web, name files one by one")
        return [given]
    with _asking(given):
        system, path = _system(given)
        if system.isfile(path):
            found = [path]
        elif glob.has_magic(path):
            found = [name for name in system.glob(path) if system.isfile(name)]
            if not found:
                raise UserError(f"no file matches {given}")
        else:
            if not system.isdir(path):
                raise UserError(f"no such file: {given}")
            top = str(path).rstrip("/")
            found = [n for n in system.find(path) if _is_picked(Path(n.removeprefix(top)))]
            if not found:
                raise UserError(f"{given} holds no {', '.join(KINDS)} file")
        return [str(system.unstrip_protocol(name)) for name in found]


def _is_picked(path: Path) -> bool:
    return suffix_of(path) in KINDS and not any(name.startswith(".") for name in path.parts)


def _system(url: str) -> tuple[Any, str]:
    try:
        fsspec = import_module("fsspec.core")
    except ImportError:
        raise UserError(f"{url}: reading this URL needs fsspec: pip install fsspec") from None
    system, path = fsspec.url_to_fs(url)
    return system, path


@contextmanager
def _asking(file: File) -> Iterator[None]:
    """Turn whatever a file system elsewhere raises into one message."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no such file: {file}") from None
    except Exception as error:
        raise UserError(f"cannot read {file}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    return (text.splitlines() or [type(error).__name__])[0]
