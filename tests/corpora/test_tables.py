"""CSV and TSV as other programs write them: the right cells beside each file."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import read_rows
from plainformer.corpora.rows import MISSING, Columns, Doubtful, Row, read_columns, read_list
from plainformer.corpora.sentence_table import has_header

EXCEL = "\ufefftext;label\r\nhéllo, you;a\r\n"
EXPECTED = [{"text": "héllo, you", "label": "a"}]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("excel, semicolons, mark", EXCEL.encode(), EXPECTED),
        ("excel, Unicode text", "text\tlabel\r\nhéllo, you\ta\r\n".encode("utf-16"), EXPECTED),
        ("big-endian", "\ufefftext;label\nhéllo, you;a\n".encode("utf-16-be"), EXPECTED),
        ("UTF-32", "text|label\nhéllo, you|a\n".encode("utf-32"), EXPECTED),
        ("excel, sep=", "sep=;\r\ntext;label\r\nhéllo, you;a\r\n", EXPECTED),
        (
            "excel, spare columns",
            "text,label,,\r\nhi,a,,\r\n,,,\r\n",
            [{"text": "hi", "label": "a"}],
        ),
        ("pandas", ',text,label\n0,"a ""b"", c",x\n', [{"text": 'a "b", c', "label": "x"}]),
        ("pandas, sep=|", 'text|label\n"a|b"|x\n', [{"text": "a|b", "label": "x"}]),
        ("R, write.csv", '"","text","label"\n"1","hi","x"\n', [{"text": "hi", "label": "x"}]),
        ("R, write.csv2", '"text";"score"\n"a, b";3,5\n', [{"text": "a, b", "score": "3,5"}]),
        ("header in quotes", '"a,b";text\n1;hi\n', [{"a,b": "1", "text": "hi"}]),
        ("spaces in the header", "text, label\nhi,x\n", [{"text": "hi", "label": "x"}]),
        (
            "a line break in it",
            '"text\r\nof it",label\nhi,x\n',
            [{"text of it": "hi", "label": "x"}],
        ),
        ("empty cells", "text,label\nhi,\n", [{"text": "hi", "label": ""}]),
        ("one column", "text\nhi\n\n", [{"text": "hi"}]),
    ],
)
def test_a_csv_as_others_write_it(tmp_path, name, content, rows):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert [row.fields for row in read_rows(path)] == rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('text\tn\nhe said "no\t1\n', [{"text": 'he said "no', "n": "1"}]),
        ('text\tn\n"no," he said\t1\n', [{"text": '"no," he said', "n": "1"}]),
        ('text\tn\n"he said ""no"""\t1\n', [{"text": 'he said "no"', "n": "1"}]),  # pandas, Excel
        ('text\tn\n"" a "b"" c"\t1\n', [{"text": '"" a "b"" c"', "n": "1"}]),
        ('"text"\t"n"\n"a\tb ""c"""\t1\n', [{"text": 'a\tb "c"', "n": "1"}]),  # R
        ("text,n\nhi,1\n", [{"text": "hi", "n": "1"}]),
        ("text (a, b, c)\tn\nhi, you\t1\n", [{"text (a, b, c)": "hi, you", "n": "1"}]),
        ("text\nhi, you; and | me\n", [{"text": "hi, you; and | me"}]),
    ],
)
def test_a_tsv_as_others_write_it(tmp_path, content, rows):
    path = tmp_path / "a.tsv"
    path.write_text(content)
    assert [row.fields for row in read_rows(path)] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text;label\nhi;a;b\n",
            r"a\.csv:2: 3 values under 2 columns: text, label, separated by ;",
        ),
        ("sep=;\ntext;label\nhi\n", r"a\.csv:3: 1 value under 2"),
        ("text,label\rhi,a\r", r"a\.csv: its lines end in carriage returns"),
        (
            "caf\u00e9;label\n".encode("cp1252"),
            r"a\.csv:1: byte 0xe9 is not UTF-8; convert .*CSV UTF-8.*iconv",
        ),
        (",,\n1,2,3\n", r"a\.csv:1: the header is blank"),
    ],
)
def test_a_fault_of_a_table(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=message):
        list(read_rows(path))


def test_a_bare_NA_is_told_from_one_in_quotes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text;label\n"NA";NA\nNA;"a ""NA"""\n"NA\n;";"nan"\n')
    rows = [row.fields for row in read_rows(path)]
    assert [[isinstance(v, Doubtful) for v in row.values()] for row in rows] == [
        [False, True], [True, False], [False, False],
    ]  # fmt: skip
    assert [list(row.values()) for row in rows] == [
        ["NA", "NA"], ["NA", 'a "NA"'], ["NA\n;", "nan"],
    ]  # fmt: skip


CELL = st.sampled_from(["NA", "null", "a", 'a "b"', "x;y", "two\nlines", "nan"])


@given(st.lists(st.tuples(CELL, CELL), min_size=1), st.sampled_from(",;|\t"))
def test_what_is_bare_is_what_the_writer_left_bare(tmp_path_factory, rows, delimiter):
    """With `QUOTE_NONNUMERIC` strings are in quotes, and what is no string is bare, as R has it."""

    class Bare(float):
        def __repr__(self) -> str:
            return "NA"

    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
    writer.writerows([("text", "label"), *((a, Bare() if b == "NA" else b) for a, b in rows)])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_text(text.getvalue(), newline="")
    found = [row.fields for row in read_rows(path)]
    assert [(row["text"], row["label"]) for row in found] == rows
    assert not any(isinstance(row["text"], Doubtful) for row in found)
    assert [isinstance(row["label"], Doubtful) for row in found] == [b == "NA" for _, b in rows]


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_is_missing(value):
    row = Row({"text": value, "label": "x", "pair": ""}, "f", 1)
    assert not row.has("text") and row.has("label") and not row.has("pair") and not row.has("no")
    assert row.optional("text") is None and row.optional("pair") is None
    with pytest.raises(UserError, match="f:1: no value in column 'text'"):
        row.string("text")


@pytest.mark.parametrize("word", sorted(MISSING))
def test_a_doubtful_cell_is_no_label(word):
    row = Row({"label": Doubtful(word)}, "f.csv", 3)
    with pytest.raises(UserError, match=r"f.csv:3: .* in column 'label' may be a missing value:"):
        row.sure_string("label")
    assert Row({"label": word}, "f.csv", 3).sure_string("label") == word


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("['joy', 'anger']", ["joy", "anger"]),
        ('["joy", "anger"]', ["joy", "anger"]),
        ("""['it\\'s', "a 'b'"]""", ["it's", "a 'b'"]),
        ("('a', 'b',)", ["a", "b"]),
        ("[]", []),
        ("[1, 0, 1]", [1, 0, 1]),
        ("[1., 0.]", [1.0, 0.0]),
        ("[.5, -2., 1e-3, '']", [0.5, -2.0, 0.001, ""]),
        ("[01, 1, -2]", ["01", 1, -2]),
        ("(007)", ["007"]),
        ("[True, False]", [True, False]),
        ("['a, b']", ["a, b"]),
        ('{"choices": ["a", "b"]}', {"choices": ["a", "b"]}),
        ("a, b", "a, b"),
        ("[a] b", "[a] b"),
        ("[b]beast[/b]", "[b]beast[/b]"),
    ],
)
def test_a_list_in_a_cell(cell, found):
    assert read_list(cell, "f:1") == found


@pytest.mark.parametrize(
    "cell", ["['joy' 'anger']", "[joy, anger]", "{'a', 'b'}", "['a', ['b']]", "[nan, 'a']", "['a",
             "[...]", "[.]", "[1.2.3, 2.0]", "[٣, 'a']"]
)  # fmt: skip
def test_a_list_that_cannot_be_read(cell):
    if cell == "['a":
        assert read_list(cell, "f:1") == cell
        return
    with pytest.raises(UserError, match=r"f:1: neither a JSON list"):
        read_list(cell, "f:1")


def some_rows() -> list[Row]:
    return [Row({"review": "hi", "Stars": 5, "a": "1", "b": "0"}, "f", n) for n in (1, 2)]


def test_columns_are_named():
    (row, _) = Columns({"text": "review", "labels": "a,b"}).of(some_rows())
    assert row.fields["text"] == "hi" and row.fields["labels"] == ["a"]
    with pytest.raises(
        UserError, match=r"f:1: no column 'stars'; columns: .*--columns label=Stars"
    ):
        next(Columns({"label": "stars"}).of(some_rows())).require("label")
    with pytest.raises(UserError, match=r"f: no column 'pear'; columns: review, Stars"):
        list(Columns({"pair": "pear"}, frozenset({"pair"})).of(some_rows()))
    assert len(list(Columns({"pair": "pear"}).of(some_rows()))) == 2, "remembered, and absent"
    with pytest.raises(UserError, match=r"f:1: column 'Stars' is neither 0 nor 1: 5"):
        list(Columns({"labels": "a,Stars"}).of(some_rows()))
    with pytest.raises(UserError, match=r"no column 'star'; .*--columns labels=a,Stars\?"):
        next(Columns({"labels": "a,star"}).of(some_rows())).require("labels")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["text"], "NAME=COLUMN"),
        (["txt=a"], "the names are text, label; did you mean text"),
        (["text=a", "text=b"], "text already has the column"),
    ],
)
def test_columns_that_cannot_be_meant(options, message):
    with pytest.raises(UserError, match=message):
        read_columns(options, ("text", "label"))
    assert read_columns(["text=a=b", "label=c d"], ("text", "label")) == {
        "text": "a=b",
        "label": "c d",
    }


def test_a_packed_table_of_nothing_has_no_header(tmp_path):
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b""))
    assert not has_header(str(tmp_path / "a.tsv.gz"), {})
