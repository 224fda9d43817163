"""Open a local or remote file, compressed or not, as a stream of its decompressed bytes.

| suffix | decompressed with                                    |
|--------|------------------------------------------------------|
| .gz    | gzip                                                 |
| .bz2   | bz2                                                  |
| .xz    | lzma                                                 |
| .zst   | compression.zstd (backports.zstd before Python 3.14) |

A local file is a `Path`, a remote one a URL. A URL with http:// or https:// is a single file
(`corpora.web`); any other (s3://, gs://, hf://, memory:// …) is opened by `fsspec`, and may be a
folder or a glob. Both are streamed: only a buffer is held in memory.
"""

import glob
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from plainformer.base import UserError, closest, expanded
from plainformer.corpora.web import WebFile, stamp_of

File = Path | str
"""The path of a local file, or the URL of a remote one."""

FOLDER_SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
"""The suffixes of the files that are read from a folder, compressed or not."""
DECOMPRESSORS: dict[str, tuple[str, ...]] = {
    ".gz": ("gzip",),
    ".bz2": ("bz2",),
    ".xz": ("lzma",),
    ".zst": ("compression.zstd", "backports.zstd"),
}
"""The modules that decompress each suffix; the first installed one is used."""
STREAM_DECOMPRESSORS = ("BZ2Decompressor", "LZMADecompressor", "ZstdDecompressor")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
BUFFER = 1 << 17


class NoText(UserError):
    """The error of a file without text, which is skipped if other files were given, too."""


def warn_skipped(fault: NoText) -> None:
    """Warn that a file is skipped."""
    print(f"warning: {fault}: skipped", file=sys.stderr)


def find_files(paths: Iterable[str | Path]) -> list[File]:
    """List the files named by files, folders, globs and URLs, in a fixed order.

    In a folder, hidden files and files of unknown formats are skipped. Empty files are skipped if
    others are not empty.

    Raises:
        UserError: a name has no files, or all files are empty.
    """
    files: list[File] = []
    empty: list[NoText] = []
    for given in paths:
        if given == "":
            raise UserError("an empty path names no file")
        find = _remote_files if _is_url(given) else _local_files
        for file in sorted(find(str(given))):
            try:
                files.append(check_file(file))
            except NoText as fault:
                empty.append(fault)
    if not files:
        raise empty[0] if empty else UserError("there is no file to read: name one")
    for found in empty:
        warn_skipped(found)
    return list(dict.fromkeys(files))


def check_file(file: File) -> File:
    """Return a file as `Path` or URL; raise `UserError` unless it exists and is not empty."""
    if file == "":
        raise UserError("an empty path names no file")
    if suffix_of(file) in SPREADSHEETS:
        raise UserError(f"{file} is a spreadsheet: save it as CSV UTF-8 or as Parquet")
    if _is_url(file):
        if stamp(file)["bytes"] == 0:
            raise NoText(f"{file} is empty")
        return str(file)
    path = expanded(file)
    shown = str(path).encode(errors="backslashreplace").decode()
    if shown != str(path):
        raise UserError(f"{shown}: the name is not UTF-8: rename the file or its folder")
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file in it")
        if path.is_fifo():
            raise UserError(f"{path} is a pipe, and files are read again: write it to a file")
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
    """Return the suffix of a file's format: ".jsonl" for a.jsonl, a.jsonl.gz and a.ndjson."""
    path = _name(file)
    name = path.stem if path.suffix.lower() in DECOMPRESSORS else path.name
    suffix = Path(name).suffix.lower()
    return ".jsonl" if suffix in (".ndjson", ".jsonlines") else suffix


def is_compressed(file: File) -> bool:
    """Tell whether a file is compressed, by its suffix."""
    return _name(file).suffix.lower() in DECOMPRESSORS


def stamp(file: File) -> dict[str, int | str | None]:
    """Return the size and the modification time of a file, by which changes are detected.

    For a remote file, they are what its server reports; None where it reports nothing.
    """
    if not _is_url(file):
        state = Path(file).stat()
        return {"bytes": state.st_size, "modified": state.st_mtime_ns}
    if _is_web(file):
        return stamp_of(str(file))
    with _remote_errors(file):
        system, path = _system(str(file))
        info = system.info(path)
    known = (info[name] for name in ("ETag", "etag", "LastModified", "mtime") if name in info)
    return {"bytes": info.get("size"), "modified": next(map(str, known), None)}


@contextmanager
def open_file(
    file: File, watch: Callable[[int], object] | None = None
) -> Iterator[io.BufferedReader]:
    """Open a file to read its decompressed bytes.

    `watch` is called with the number of bytes after each read from the file itself.

    Raises:
        UserError: the file cannot be read, or its compressed data is damaged or cut short.
    """
    with ExitStack() as open_files:
        faults: tuple[type[Exception], ...] = (OSError,)
        if _is_web(file):
            raw: Any = open_files.enter_context(WebFile(str(file)))
        elif _is_url(file):
            faults = (Exception,)  # each file system raises errors of its own
            with _remote_errors(file):
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
        if is_compressed(file):
            module = _decompressor(file)
            damage = [vars(module)[n] for n in ("LZMAError", "ZstdError") if n in vars(module)]
            kind = next((vars(module)[n] for n in STREAM_DECOMPRESSORS if n in vars(module)), None)
            decompressed = open_files.enter_context(
                module.open(stream, "rb") if kind is None else _Streams(stream, kind)
            )
            faults = (OSError, EOFError, zlib.error, *damage)
            fault = f"{file} is damaged or cut short"
            stream = io.BufferedReader(_Watched(decompressed, None, faults, fault), BUFFER)
        yield stream


class _Streams(io.RawIOBase):
    """The decompressed bytes of one stream or several.

    The readers of `bz2`, `lzma` and `zstd` drop everything from a damaged second stream on.
    """

    def __init__(self, file: io.BufferedReader, kind: Callable[[], Any]) -> None:
        self._file, self._kind, self._stream = file, kind, kind()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = b""
        while not content:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(b"\0")  # .xz may be padded
                while not data:
                    more = self._file.read1(BUFFER)
                    if not more:
                        return 0
                    data = more.lstrip(b"\0")
                self._stream = self._kind()
            elif self._stream.needs_input:
                data = self._file.read1(BUFFER)
                if not data:
                    raise EOFError("the data ends within a stream")
            content = self._stream.decompress(data, len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _Watched(io.RawIOBase):
    """A file that reports the size of each read, and raises its `faults` as `UserError`."""

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
        return PurePosixPath(urlsplit(file).path)  # without the query
    except ValueError as error:
        raise UserError(f"{file} is not a valid URL: {error}") from None


def _decompressor(file: File) -> ModuleType:
    for name in DECOMPRESSORS[_name(file).suffix.lower()]:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise UserError(f"{file}: reading .zst needs backports.zstd: pip install backports.zstd")


def _local_files(given: str) -> list[File]:
    path = expanded(given)
    if path.is_dir():
        found = [p for p in _walk(path) if p.is_file() and _is_data_file(p.relative_to(path))]
        if not found:
            raise UserError(f"{path} has no {', '.join(FOLDER_SUFFIXES)} file")
    elif path.exists() or not glob.has_magic(given):
        found = [path]
    else:
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 (takes absolute patterns)
        found = [p for p in map(Path, matches) if p.is_file()]
        if not found:
            raise UserError(f"no file matches {given}")
    return list(found)


def _walk(top: Path) -> Iterator[Path]:
    """Yield what is in a folder and its subfolders, also linked ones, each folder once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}")

    seen = set()
    for folder, inner, names in os.walk(top, onerror=refuse, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            inner.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(folder, name) for name in names)


def _remote_files(given: str) -> list[File]:
    if _is_web(given):
        if not _name(given).name or "*" in given or given.endswith("/"):
            raise UserError(f"{given} does not name a file: for http, name each file")
        return [given]
    with _remote_errors(given):
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
            found = [n for n in system.find(path) if _is_data_file(Path(n.removeprefix(top)))]
            if not found:
                raise UserError(f"{given} has no {', '.join(FOLDER_SUFFIXES)} file")
        return [str(system.unstrip_protocol(name)) for name in found]


def _is_data_file(path: Path) -> bool:
    return suffix_of(path) in FOLDER_SUFFIXES and not any(
        name.startswith(".") for name in path.parts
    )


def _system(url: str) -> tuple[Any, str]:
    try:
        fsspec = import_module("fsspec.core")
    except ImportError:
        raise UserError(f"{url}: reading this URL needs fsspec: pip install fsspec") from None
    system, path = fsspec.url_to_fs(url)
    return system, path


@contextmanager
def _remote_errors(file: File) -> Iterator[None]:
    """Convert any error of a remote file system to `UserError`."""
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
