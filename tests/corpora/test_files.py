"""Packed and far files read as plain ones, in bounded memory; what is damaged is named."""

import bz2
import gzip
import json
import lzma
import os
import random
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

import plainformer.corpora.tables
from plainformer.base import UserError
from plainformer.corpora import lines, read_documents, read_lines, read_rows, read_texts, suffix_of
from plainformer.corpora.files import check_file

zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
fsspec = pytest.importorskip("fsspec")

PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}
TEXTS = [f"text {i}: caf\u00e9 \u2028 東京" for i in range(500)]
KINDS = {
    ".txt": "\n".join(TEXTS),
    ".jsonl": "\n".join(json.dumps({"text": text}) for text in TEXTS),
    ".csv": "text\n" + "\n".join(TEXTS),
    ".tsv": "id\ttext\n" + "\n".join(f"7\t{text}" for text in TEXTS),
}


@pytest.fixture
def far():
    """A place elsewhere: a file system of its own, in memory."""
    system = fsspec.filesystem("memory")
    yield "memory://corpus"
    system.rm("/corpus", recursive=True)


def put(name: str, content: bytes) -> str:
    with fsspec.open(name, "wb") as file:
        file.write(content)
    return name


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("form", KINDS)
def test_a_packed_file_reads_as_a_plain_one(tmp_path, form, packing):
    content = KINDS[form].encode()
    path = tmp_path / f"a{form}{packing}"
    path.write_bytes(PACKERS[packing](content))
    assert list(read_texts(path)) == TEXTS
    assert list(read_texts(tmp_path)) == TEXTS
    path.write_bytes(PACKERS[packing](content[:70]) + PACKERS[packing](content[70:]))
    assert list(read_texts(path)) == TEXTS  # packed in parts, as `cat` joins them


@pytest.mark.parametrize("packing", ["", *PACKERS])
@pytest.mark.parametrize("form", KINDS)
def test_a_file_elsewhere_reads_as_one_here(far, form, packing):
    pack = PACKERS.get(packing, bytes)
    name = put(f"{far}/a{form}{packing}", pack(KINDS[form].encode()))
    assert list(read_texts(name)) == TEXTS


def test_parquet_elsewhere(far, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "a.parquet")
    name = put(f"{far}/a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert list(read_texts(name)) == TEXTS
    assert list(read_texts(f"file://{tmp_path}/a.parquet")) == TEXTS
    put(f"{far}/a.parquet.gz", gzip.compress(b"PAR1"))
    with pytest.raises(UserError, match="compressed internally"):
        list(read_texts(f"{far}/a.parquet.gz"))


def test_folders_and_globs_elsewhere(far, tmp_path):
    for name in ("b.txt", "a/deep/a.txt.gz", ".hidden/h.txt", "notes.pdf"):
        content = gzip.compress(b"packed") if name.endswith("gz") else name.encode()
        put(f"{far}/{name}", content)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for top in (far, f"file://{tmp_path}", str(tmp_path)):
        assert list(read_texts(top)) == ["packed", "b.txt"]
        assert list(read_texts(f"{top}/*.txt")) == ["b.txt"]
        assert list(read_texts([f"{top}/b.txt", top])) == ["b.txt", "packed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.txt", "no such file: .*corpus/nowhere.txt"),
        ("*.tsv", r"no file matches .*corpus/\*\.tsv"),
        ("empty.txt", r"empty\.txt is empty"),
        ("pictures", r"pictures has no \.txt"),
    ],
)
def test_what_is_not_elsewhere(far, name, message):
    put(f"{far}/empty.txt", b"")
    put(f"{far}/pictures/a.png", b"\x89PNG")
    with pytest.raises(UserError, match=message):
        read_texts(f"{far}/{name}")


def test_a_system_that_is_not_known_or_not_installed(monkeypatch):
    with pytest.raises(UserError, match="cannot read nonsense://x: Protocol not known"):
        read_texts("nonsense://x")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UserError, match=r"s3://b/a\.txt: .*pip install fsspec"):
        read_texts("s3://b/a.txt")


def test_zst_without_its_module_names_the_extra(tmp_path, monkeypatch):
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "a.txt.zst").write_bytes(zstd.compress(b"text"))
    with pytest.raises(UserError, match=r"pip install backports\.zstd"):
        list(read_texts(tmp_path))


@pytest.mark.parametrize("packing", PACKERS)
def test_a_damaged_packed_file_is_one_error_with_its_name(tmp_path, packing):
    whole = PACKERS[packing](b"".join(b"%d some words\n" % i**3 for i in range(9000)))
    path = tmp_path / f"a.txt{packing}"
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2 : len(whole) // 2 + 20] = bytes(20)
    for content in (whole[: len(whole) // 2], whole[:-3], bytes(spoilt), b"no such packing"):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=rf"a\.txt{packing} is damaged or cut short: "
        ) as caught:
            list(read_texts(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packing", PACKERS)
def test_damage_in_a_second_stream_is_an_error(tmp_path, packing):
    pack, path = PACKERS[packing], tmp_path / f"a.txt{packing}"
    path.write_bytes(pack(b"one\n") + b"?" + pack(b"two\n"))
    with pytest.raises(UserError, match=rf"a\.txt{packing} is damaged or cut short"):
        list(read_texts(path))
    path.write_bytes(pack(b"one\n") + bytes(4) + pack(b"two\n") + bytes(8))
    assert list(read_texts(path)) == ["one", "two"], "zeros fill up a block"


def test_a_line_is_named_also_in_a_packed_file(tmp_path, far):
    content = gzip.compress(b"one\ntwo\ncaf\xe9\n")
    (tmp_path / "a.txt.gz").write_bytes(content)
    for name in (str(tmp_path / "a.txt.gz"), put(f"{far}/a.txt.gz", content)):
        with pytest.raises(UserError, match=r"a\.txt\.gz:3: byte 0xe9 is not UTF-8"):
            list(read_texts(name))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"PK\0\0"))
    with pytest.raises(UserError, match="zero bytes"):
        list(read_texts(tmp_path / "b.txt.gz"))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.txt.gz"])
def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path, monkeypatch, name):
    for module in (lines, plainformer.corpora.tables):
        monkeypatch.setattr(module, "LONGEST_LINE", 1 << 20)
    content = b"text\nfine\n" + b'"' * name.endswith(".csv") + b"x" * (30 << 20)
    if name == "a.jsonl":
        content = b'{"text": "fine"}\n' + b"x" * (30 << 20)
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    del content
    tracemalloc.start()
    with pytest.raises(UserError, match=rf"{name}:\d: the line is longer than 1 MiB: split it"):
        list(read_texts(tmp_path / name))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(tmp_path, monkeypatch):
    for module in (lines, plainformer.corpora.tables):
        monkeypatch.setattr(module, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.csv").write_text('text\nok\n"open\n' + "a line of text\n" * 200_000)
    with pytest.raises(UserError, match=r"a\.csv:3: not a valid CSV record: field larger"):
        list(read_texts(tmp_path))


def test_files_are_streams(tmp_path):
    """Far more text than is ever held."""
    path = tmp_path / "a.jsonl.zst"
    with zstd.open(path, "wb") as file:
        for i in range(100):
            row = json.dumps({"text": f"{i} " + "words " * 10_000})
            file.write((row + "\n").encode() * 5)
    tracemalloc.start()
    assert sum(1 for _ in read_documents(path)) == 500
    assert tracemalloc.get_traced_memory()[1] < 3 << 20  # of 30 MB
    tracemalloc.stop()


def test_of_parquet_only_the_text_is_read_and_not_at_once(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rng = random.Random(0)
    words = [rng.randbytes(1000).hex() for _ in range(8000)]
    table = pyarrow.table({"text": words, "other": words[::-1]})
    parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")  # one row group
    del table
    size = (tmp_path / "a.parquet").stat().st_size
    seen = 0

    def watch(count: int) -> None:
        nonlocal seen
        seen += count

    texts = read_documents(tmp_path / "a.parquet", watch)
    assert list(islice(texts, 300)) == words[:300]
    assert seen < size / 4
    assert list(texts) == words[300:]
    assert seen < size * 0.6


@pytest.mark.parametrize("packing", ["", *PACKERS])
def test_every_byte_of_a_file_is_told_of(tmp_path, packing):
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(PACKERS.get(packing, bytes)("\n".join(TEXTS * 50).encode()))
    seen: list[int] = []
    assert sum(1 for _ in read_documents(path, seen.append)) == len(TEXTS) * 50
    assert sum(seen) == path.stat().st_size


def test_the_kind_of_a_file_is_its_suffix_without_its_packing():
    assert suffix_of(Path("a.jsonl.gz")) == suffix_of("s3://b/a.jsonl") == ".jsonl"
    assert suffix_of("https://host/a.CSV.GZ?download=true#top") == ".csv"
    assert suffix_of("s3://b/what?.tsv") == ".tsv"
    assert suffix_of(Path("dump.gz")) == suffix_of("text") == ""


def test_labelled_rows_are_read_packed_and_from_elsewhere(far, tmp_path):
    content = gzip.compress(b'{"text": "a", "label": 1}\n\n{"text": "b", "label": 2}\n')
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    for name in (tmp_path / "a.jsonl.gz", put(f"{far}/a.jsonl.gz", content)):
        rows = list(read_rows(name))
        assert [(row.fields["label"], row.line) for row in rows] == [(1, 1), (2, 3)]
        with pytest.raises(UserError, match=r"a\.jsonl\.gz:3: no column 'pair'"):
            rows[1].require("pair")
    assert [n for n, _ in read_lines(tmp_path / "a.jsonl.gz")] == [1, 2, 3]


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="is a pipe, and files are read again"):
        check_file(str(tmp_path / "pipe.txt"))
