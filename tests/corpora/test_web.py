"""Files of a real server that stalls, drops, knows no ranges, or changes its files."""

import gzip
import hashlib
import http.server
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import plainformer.corpora.web
from plainformer.base import UserError
from plainformer.corpora import find_files, read_documents, read_rows, read_texts, stamp
from plainformer.corpora.web import WebFile

TEXTS = [f"text {i}: caf\u00e9 東京" for i in range(4000)]
CONTENT = "\n".join(TEXTS).encode()


class Files(http.server.BaseHTTPRequestHandler):
    """Serves `files`; a path begins with how: /stall,noranges/a.txt."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    asked: Counter[str]
    ranges: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        _, how, name = self.path.partition("?")[0].split("/", 2)
        ways = how.split(",")
        if body:
            self.asked[self.path] += 1
        times = self.asked[self.path]
        content = self.files.get(name)
        if "deaf" in ways:
            time.sleep(0.7)
        if content is None or (not body and "nohead" in ways) or "forbidden" in ways:
            return self.refuse(404 if content is None else 403 if "forbidden" in ways else 405)
        if body and "busy" in ways and times < 3:
            return self.refuse(503)
        if "broken" in ways:
            return self.refuse(500)
        if "changes" in ways and times > 1:
            content = content.replace(b"text", b"else")
        begin, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and "noranges" not in ways:
            self.ranges.append(asked[0])
            begin, status = int(asked[1]), 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        part = content[begin:]
        if "nosize" not in ways:
            self.send_header("Content-Length", str(len(part)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        if "notag" not in ways:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:8]}"')
        if "packs" in ways:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if not body:
            return None
        piece = max(len(content) // 3, 1)
        if {"drop", "stall", "changes"} & set(ways) and (times < 3 or "always" in ways):
            self.wfile.write(
                part[:piece] if times == 1 or "noranges" not in ways else part[: piece * times]
            )
            self.wfile.flush()
            if "stall" in ways:
                time.sleep(0.7)
            self.close_connection = True
            return None
        if "slow" in ways:  # longer than the silence in all, but never silent
            for start in range(0, len(part), piece):
                self.wfile.write(part[start : start + piece])
                self.wfile.flush()
                time.sleep(0.2)
            return None
        self.wfile.write(part)
        return None

    def refuse(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch) -> Iterator[type[Files]]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(plainformer.corpora.web, "TIMEOUT", 0.3)
    monkeypatch.setattr(plainformer.corpora.web, "PAUSE", 0.01)
    handler = type("OfTest", (Files,), {"files": {}, "asked": Counter(), "ranges": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        handler.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield handler
        running.shutdown()
        thread.join()


WAYS = {
    "plain": 1,
    "nosize": 1,
    "notag": 1,
    "nohead": 1,
    "slow": 1,
    "busy": 3,
    "drop": 3,
    "stall": 3,
    "drop,notag": 3,
    "drop,noranges": 3,
    "stall,noranges": 3,
    "drop,always": 20,
}
"""how a server is, and how often it is asked for a file at most"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_every_byte_comes_once(server, way, name, capsys):
    server.files[name] = gzip.compress(CONTENT) if name.endswith("gz") else CONTENT
    url = f"{server.address}/{way}/{name}"
    seen: list[int] = []
    assert list(read_documents(url, seen.append)) == TEXTS
    assert sum(seen) == len(server.files[name])
    asked = server.asked[f"/{way}/{name}"] - ("nohead" in way)
    assert 1 <= asked <= WAYS[way]
    assert ("trying again" in capsys.readouterr().err) == (asked > 1)
    assert bool(server.ranges) == (asked > 1 and "noranges" not in way and way != "busy")


FAULTS = {
    "plain/none.txt": ("no such file: http", 1),
    "forbidden/a.txt": ("cannot read .*: the server answered 403", 1),
    "broken/a.txt": ("cannot read .*: the server answered 500 .*, 5 times in a row", 5),
    "deaf/a.txt": ("cannot read .*: no data for 0.3 s, 5 times in a row", 5),
    "changes/a.txt": ("changed while it was read: start again", 2),
    "packs/a.txt": ("the server compresses the file", 1),
    "plain/empty.txt": ("empty.txt is empty", 1),
    "plain/": ("does not name a file: for http, name each file", 0),
    "plain/*.txt": ("does not name a file", 0),
}


@pytest.mark.parametrize("path", FAULTS)
def test_what_cannot_be_read_is_said_in_one_line(server, path):
    server.files |= {"a.txt": CONTENT, "empty.txt": b""}
    message, _ = FAULTS[path]
    begin = time.monotonic()
    with pytest.raises(UserError, match=message) as caught:
        list(read_texts(f"{server.address}/{path}"))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begin < 10


def test_a_drop_that_brings_nothing_new_ends(server, monkeypatch):
    """Without ranges it begins at the beginning, each time, and ends where it ended before."""
    server.files["a.txt"] = CONTENT
    monkeypatch.setattr(Files, "do_GET", lambda self: (self.asked.clear(), self.answer(True)))
    with pytest.raises(
        UserError, match=r"the data ended after [\d,]+ of [\d,]+ bytes, 5 times in a row"
    ):
        list(read_documents(f"{server.address}/drop,noranges/a.txt"))


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.txt", "http://127.0.0.1:9/my file", "http://[::1/a.txt"]
)
def test_nobody_answers(address, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(plainformer.corpora.web, "PAUSE", 0.001)
    with pytest.raises(UserError, match=r"cannot read .*refused|is not a valid URL"):
        find_files([address])


def test_an_address_need_not_be_quoted(server):
    server.files["%E8%AF%AD%20a%2B.txt"] = CONTENT
    assert list(read_texts(f"{server.address}/plain/语 a%2B.txt")) == TEXTS


@pytest.mark.parametrize("way", ["plain", "drop,always", "notag"])
def test_any_place_of_a_file(server, way):
    server.files["a.bin"] = CONTENT
    with WebFile(f"{server.address}/{way}/a.bin") as file:
        buffered = io.BufferedReader(file, 100)
        for place, count in ((9000, 500), (0, 7), (len(CONTENT) - 5, 50), (3, 20_000)):
            buffered.seek(place)
            assert buffered.read(count) == CONTENT[place : place + count]
        assert buffered.seek(-4, io.SEEK_END) == len(CONTENT) - 4
        assert buffered.read() == CONTENT[-4:]


def test_labelled_rows_and_parquet_on_the_web(server, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [{"text": text, "label": "x"} for text in TEXTS]
    server.files["a.jsonl"] = "\n".join(json.dumps(row) for row in rows).encode()
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    server.files["a.parquet"] = (tmp_path / "a.parquet").read_bytes()
    for name in ("drop/a.jsonl?download=true", "drop/a.parquet"):
        assert [row.fields for row in read_rows(f"{server.address}/{name}")] == rows
    with pytest.raises(UserError, match=r"a\.jsonl\?download=true:1: no column 'pair'"):
        next(read_rows(f"{server.address}/plain/a.jsonl?download=true")).require("pair")


def test_a_stamp_tells_a_file_from_its_later_self(server):
    server.files["a.txt"] = CONTENT
    for way in ("plain", "nohead", "busy"):
        before = stamp(f"{server.address}/{way}/a.txt")
        assert before["bytes"] == len(CONTENT)
    server.files["a.txt"] = CONTENT.replace(b"text", b"else")
    assert stamp(f"{server.address}/plain/a.txt") != before
