import csv
import errno
import gzip
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import read_rows, read_texts

LINE = "caf\u00e9 \u2028 \x0c 東京 \U0001f600"  # separators that must not break a line


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_text_file_holds_a_document_on_each_line_that_is_not_blank(tmp_path):
    path = write(tmp_path / "a.txt", f"\ufeffone\r\n\n  two  \n \t\n{LINE}")
    assert list(read_texts(path)) == ["one", "two", LINE]


def test_every_format_gives_the_same_texts(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    write(tmp_path / "a.txt", "one\ntwo\n")
    write(tmp_path / "b.jsonl", '{"text": "one"}\n\n{"text": "two", "id": 7}\n')
    write(tmp_path / "c.csv", 'id,text\n1,one\n2,"two"\n')
    write(tmp_path / "d.tsv", "text\tid\none\t1\ntwo\t2\n")
    parquet.write_table(pyarrow.table({"text": ["one", "two"]}), tmp_path / "e.parquet")
    for name in ("f.ndjson", "g.jsonlines"):
        write(tmp_path / name, '{"text": "one"}\n{"text": "two"}\n')
    for path in tmp_path.iterdir():
        assert list(read_texts(path)) == ["one", "two"], path
    assert list(read_texts(tmp_path)) == ["one", "two"] * 7


def test_folders_and_globs_are_read_in_order_and_each_file_once(tmp_path):
    write(tmp_path / "b.txt", "b")
    write(tmp_path / "a" / "deep" / "a.txt", "a")
    write(tmp_path / ".hidden" / "h.txt", "hidden")
    write(tmp_path / "notes.pdf", b"%PDF\0")
    assert list(read_texts(tmp_path)) == ["a", "b"]
    assert list(read_texts(str(tmp_path / "**" / "*.txt"))) == ["a", "b"]
    assert list(read_texts([tmp_path / "b.txt", tmp_path])) == ["b", "a"]
    write(tmp_path / "odd[1].txt", "a name that looks like a glob")
    assert list(read_texts(tmp_path / "odd[1].txt")) == ["a name that looks like a glob"]


def test_paths_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_texts([write(tmp_path / "a.txt", "a"), tmp_path / "missing.txt"])
    write(tmp_path / "reviews.csv", "text\na\n")
    with pytest.raises(UserError, match=r"no such file: .*; did you mean .*reviews\.csv\?"):
        read_texts(tmp_path / "review.csv")
    (tmp_path / "missin").mkdir()
    with pytest.raises(
        UserError, match=r"no such file: .*missing\.csv$"
    ):  # only the suffix is near
        read_texts(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"\n \n", "has no text"),
        ("a.txt", b"one\ncaf\xe9\n", r"a\.txt:2: byte 0xe9 is not UTF-8.*iconv"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "zero bytes"),
        ("a.txt", "wide".encode("utf-16-le"), "UTF-16.*iconv"),
        ("a.txt", "wide".encode("utf-16") + b"!", r"a\.txt:1: not UTF-16"),
        ("a.txt", b"one\rtwo\r", r"a\.txt: its lines end in carriage returns"),
        ("a.txt", b"one\n" * 9999 + b"t\0wo\n", r"a\.txt:10000: the line contains a zero byte"),
        ("a.json", b"[]", "jsonl"),
        ("a.xlsx", b"PK\3\4", "is a spreadsheet: save it as CSV UTF-8 or as Parquet"),
        ("a.jsonl", b'{"text": "one"}\n{"text": \n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'\n["one"]\n', r"a\.jsonl:2: not a JSON object"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: .*surrogate"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', r"a\.jsonl:1: two values of 'text'"),
        ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl:1: the text is not a string"),
        ("a.jsonl", b'{"text": null}\n', r"a\.jsonl:1: no value in column 'text'"),
        ("a.jsonl", b'{"body": "x", "id": 1}\n', r"a\.jsonl:1: no column 'text'; .*body, id"),
        ("a.csv", b"id,body\n1,x\n", r"a\.csv:2: no column 'text'; columns: id, body"),
        ("a.csv", b"id,text\n1,x\n2\n", r"a\.csv:3: 1 value under 2 columns: id, text"),
        ("a.csv", b'text\nok\n"open\nto the end\n', r"a\.csv:3: not a valid CSV record"),
        ("a.csv", b"text,text\na,b\n", r"a\.csv:1: the header names 'text' twice"),
        ("a.csv", b"text,label\n", "has no text"),
        ("a.tsv", b"text\tlabel\na\tb\tc\n", r"a\.tsv:2: 3 values under 2"),
        ("a.parquet", b"not parquet at all", "not a valid Parquet file"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(UserError, match=message) as caught:
        list(read_texts(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path / "elsewhere" / "a.txt", "a")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "corpus")
    assert list(read_texts(tmp_path / "corpus")) == ["a"]


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "closed" / "b.txt", "b")
    scandir = os.scandir

    def closed(path):
        if "closed" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match=r"cannot read .*closed: Permission denied"):
        read_texts(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    write(tmp_path / os.fsdecode(b"caf\xe9.txt"), "a")
    with pytest.raises(UserError, match=r"caf\\udce9\.txt: the name is not UTF-8"):
        read_texts(tmp_path)


def test_columns_of_parquet_that_cannot_be_read(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    times = {
        "day": pyarrow.array([10**8], pyarrow.date32()),
        "second": pyarrow.array([10**15], pyarrow.timestamp("s")),
    }
    for name, values in times.items():
        table = pyarrow.table({"text": ["a"], name: values})
        parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(UserError, match=r"a\.parquet: a value that Python cannot hold"):
            list(read_rows(tmp_path / "a.parquet"))
        assert list(read_texts(tmp_path / "a.parquet")) == ["a"]
    table = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    for read in (read_rows, read_texts):
        with pytest.raises(UserError, match=r"a\.parquet: two columns are named 'text'"):
            list(read(tmp_path / "a.parquet"))


def test_paths_that_name_nothing(tmp_path):
    for paths, message in (
        (tmp_path, "has no .txt"),
        (str(tmp_path / "*.txt"), "no file matches"),
        ([], "there is no file to read"),
    ):
        with pytest.raises(UserError, match=message):
            read_texts(paths)
    with pytest.raises(UserError, match="is a folder"):
        read_rows(tmp_path)
    with pytest.raises(UserError, match=r"read from \.jsonl"):
        read_rows(write(tmp_path / "a.txt", "a"))


def test_class_labels_of_datasets_are_read_by_their_names(tmp_path):
    """The metadata is as `datasets` 2 and 4 write it."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    label = {"names": ["neg", "pos"], "_type": "ClassLabel"}
    features = {
        "label": label,
        "tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "Sequence"},
        "old": [label],
        "text": {"dtype": "string", "_type": "Value"},
    }
    columns = {"text": ["a", "b"], "label": [1, -1], "tags": [[0, 1], []], "old": [[1], [0]]}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table(columns).replace_schema_metadata(about)
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [row.fields for row in read_rows(tmp_path / "a.parquet")] == [
        {"text": "a", "label": "pos", "tags": ["O", "B-PER"], "old": ["pos"]},
        {"text": "b", "label": None, "tags": [], "old": ["neg"]},
    ]
    columns["label"] = [1, 2]
    table = pyarrow.table(columns).replace_schema_metadata(about)
    parquet.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet:2: column 'label': label 2 has no name"):
        list(read_rows(tmp_path / "b.parquet"))
    for odd in ("[]", '{"info": 3}', '{"info": {"features": {"label": {"names": 3}}}}'):
        table = pyarrow.table(columns).replace_schema_metadata({"huggingface": odd})
        parquet.write_table(table, tmp_path / "c.parquet")
        assert [row.fields["label"] for row in read_rows(tmp_path / "c.parquet")] == [1, 2]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install pyarrow"):
        list(read_rows(write(tmp_path / "a.parquet", "x")))


def test_a_row_knows_its_line_also_after_a_value_of_several_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"one\ntwo",x\n\nthree,y\n')
    first, second = read_rows(path)
    assert (first.fields["text"], first.line) == ("one\ntwo", 2)
    assert (second.require("label", "text"), second.line) == (["y", "three"], 5)


def test_a_quote_in_tsv_is_a_quote_and_long_fields_of_csv_are_read(tmp_path):
    (row,) = read_rows(write(tmp_path / "a.tsv", 'text\tlabel\r\nhe said "no\tx\r\n'))
    assert row.fields == {"text": 'he said "no', "label": "x"}
    (row,) = read_rows(write(tmp_path / "a.csv", "text\n" + "x" * 200_000))
    assert len(row.fields["text"]) == 200_000


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    assert [tuple(row.fields.values()) for row in read_rows(path)] == rows


@given(st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT)), min_size=1))
def test_what_json_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    for ascii_only in (True, False):
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
        assert [row.fields for row in read_rows(path)] == rows
        assert [row.line for row in read_rows(path)] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("paths", ["", [""], ["a.txt", ""]])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, paths):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("mine\n")
    for read in (read_texts, read_rows):
        if read is read_texts or isinstance(paths, str):
            with pytest.raises(UserError, match="an empty path names no file"):
                list(read(paths))


NOTHING = {
    "b.txt": b"",
    "c.txt": b"\n \n\n",
    "d.csv": b"text\n",
    "e.jsonl": b"\n",
    "f.jsonl": b'{"text": " "}\n',
    "g.txt.gz": gzip.compress(b""),
    "h.tsv": b"",
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_file_without_text_among_others_is_passed_over(tmp_path, name, capsys):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / name).write_bytes(NOTHING[name])
    (tmp_path / "z.txt").write_text("two\n")
    for paths in (
        tmp_path,
        f"{tmp_path}/*",
        [tmp_path / "a.txt", tmp_path / name, tmp_path / "z.txt"],
    ):
        assert list(read_texts(paths)) == ["one", "two"]
        said = capsys.readouterr().err
        assert f"{name} is empty: skipped" in said or f"{name} has no text" in said
    for file in ("a.txt", "z.txt"):
        (tmp_path / file).write_bytes(b"")
    for paths in (tmp_path, tmp_path / name):
        with pytest.raises(UserError, match=r"is empty|has no"):
            list(read_texts(paths))


def test_a_text_of_parquet_that_is_not_utf8_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = pyarrow.array([b"fine", b"caf\xe9"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not a valid Parquet file: 'utf-8'"):
        list(read_rows(tmp_path / "a.parquet"))
