"""Read a file from a web address, resuming after lost connections.

    30 s without data, a lost connection, 429, 5xx   request the rest again
    206 Partial Content                              continue with the rest
    200, from a server without ranges                skip the bytes that were already read
    another ETag, date or size                       error: the file has changed
    404, 403 and other codes                         error

The total time is not limited, only the time without data (`TIMEOUT`) and the number of consecutive
tries without data (`TRIES`). Requests and ranges: RFC 9110, §13.1.5 and §14.
"""

import http.client
import io
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from plainformer.base import UserError

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds without data after which a connection is closed."""
TRIES = 5
"""Consecutive tries without data after which reading fails."""
PAUSE = 1.0
"""Seconds before the second try, doubled before each further one."""
RETRIED_CODES = (408, 425, 429, 500, 502, 503, 504)
SKIPPED_AT_ONCE = 1 << 20

_FAULTS = (OSError, http.client.HTTPException)


class WebFile(io.RawIOBase):
    """A file at a web address, as a seekable stream of bytes."""

    def __init__(self, url: str) -> None:
        self.url, self._position = url, 0
        self._response: Any = None
        self.size: int | None = None
        self.modified: str | None = None
        self._connect()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Tell whether the size is known, which seeking requires."""
        return self.size is not None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; the next read requests the data from there."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size or 0}[whence]
        if start + offset != self._position:
            self._drop()
            self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that have arrived: at least one, except at the end."""
        if self.size is not None and self._position >= self.size:
            return 0
        data: bytes = _with_retries(self.url, lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the connection and the stream."""
        self._drop()
        super().close()

    def _read(self, count: int) -> bytes:
        if self._response is None:
            self._open()
        try:
            data: bytes = self._response.read1(count)
            if not data and self.size is not None:
                raise ConnectionError(
                    f"the data ended after {self._position:,} of {self.size:,} bytes"
                )
        except _FAULTS:
            self._drop()
            raise
        return data

    def _connect(self) -> None:
        _with_retries(self.url, self._open)

    def _open(self) -> None:
        """Open a connection that begins at the current position."""
        headers = {"Range": f"bytes={self._position}-"} if self._position else {}
        if self._position and self.modified is not None:
            headers["If-Range"] = self.modified
        response = _request(self.url, headers)
        found = response.headers
        size, modified = _size(found), found.get("ETag") or found.get("Last-Modified")
        begin = 0
        if response.status == http.client.PARTIAL_CONTENT:
            begin, size = _range(found)
        is_gzip = urllib.parse.urlsplit(self.url).path.endswith(".gz")
        if found.get("Content-Encoding", "identity") != "identity" and not is_gzip:
            raise UserError(
                f"{self.url}: the server compresses the file, which is not supported: "
                "download it first"
            )
        for before, now in ((self.size, size), (self.modified, modified)):
            if None not in (before, now) and before != now:
                raise UserError(f"{self.url} changed while it was read: start again")
        self.size, self.modified = self.size or size, self.modified or modified
        while begin < self._position:
            passed = len(response.read1(min(self._position - begin, SKIPPED_AT_ONCE)))
            if not passed:
                raise ConnectionError("the file is now shorter than the part already read")
            begin += passed
        self._response = response

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None


def stamp_of(url: str) -> dict[str, int | str | None]:
    """Request the size of a file, and its ETag or date."""
    found = _with_retries(url, lambda: _head(url))
    return {"bytes": _size(found), "modified": found.get("ETag") or found.get("Last-Modified")}


def _head(url: str) -> Any:
    try:
        with _request(url, {}, "HEAD") as response:
            return response.headers
    except urllib.error.HTTPError as error:
        if error.code not in (403, 405, 501):
            raise
        with _request(url, {}) as response:  # some servers refuse HEAD
            return response.headers


def _request(url: str, headers: dict[str, str], method: str = "GET") -> Any:
    headers = {"User-Agent": "plainformer", "Accept-Encoding": "identity", **headers}
    quoted = urllib.parse.quote(url, safe="%/:=&?#+!$,;'@()*[]~")
    request = urllib.request.Request(quoted, headers=headers, method=method)
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _with_retries(url: str, request: Callable[[], T]) -> T:
    """Call `request`; after a temporary fault, print a warning and try again."""
    for number in range(1, TRIES + 1):
        try:
            return request()
        except (ValueError, http.client.InvalidURL) as error:
            raise UserError(f"{url} is not a valid URL: {error}") from None
        except _FAULTS as error:
            fault = described(error)
            if isinstance(error, urllib.error.HTTPError) and error.code not in RETRIED_CODES:
                missing = error.code in (404, 410)
                raise UserError(
                    f"no such file: {url}" if missing else f"cannot read {url}: {fault}"
                ) from None
            if number == TRIES:
                break
            pause = PAUSE * 2 ** (number - 1)
            print(
                f"{url}: {fault}; trying again in {pause:.0f} s ({number + 1} of {TRIES})",
                file=sys.stderr,
            )
            time.sleep(pause)
    raise UserError(f"cannot read {url}: {fault}, {TRIES} times in a row")


def described(error: Exception) -> str:
    """Describe a connection error for a message."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return f"no data for {TIMEOUT:g} s"
    text = str(getattr(inner, "strerror", None) or inner)
    return (text.splitlines() or [type(error).__name__])[0]


def _range(headers: Any) -> tuple[int, int | None]:
    """Parse a Content-Range, "bytes 5-9/10": return the start and the total size."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        raise ConnectionError("the response has no valid Content-Range")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _size(headers: Any) -> int | None:
    length = headers.get("Content-Length")
    return int(length) if length and length.isdecimal() else None
