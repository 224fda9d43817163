"""Predictions on the command line: a line for each text, in order, as soon as it is known."""

import contextlib
import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import hypothesis
import pyarrow
import pytest
from hypothesis import strategies as st
from pyarrow import parquet

from plainformer.base import UserError
from plainformer.corpora import read_rows
from plainformer.finetune import Predictor
from plainformer.finetune.prediction.inputs import arriving_rows
from plainformer.finetune.prediction.outputs import check_format
from tests.plainformer.conftest import ROOT, start
from tests.pretrain import tiny


@pytest.fixture
def answers(call):
    """The objects that a prediction prints, one a line."""

    def run(*arguments: object) -> list[dict[str, object]]:
        code, out, _ = call("predict", *arguments)
        assert code == 0
        return [json.loads(line) for line in out.splitlines()]

    return run


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Put this on the standard input."""
    with contextlib.ExitStack() as opened:

        def put(content: str | bytes) -> None:
            path = tmp_path / "given"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            monkeypatch.setattr(sys, "stdin", opened.enter_context(path.open()))

        yield put


def test_answers_are_those_of_the_model(answers, classifier):
    texts = ["the red hen", "the cat 猫", "", "the red hen", *tiny.sentences(5)]
    for row, wanted in zip(
        answers(classifier, "--text", *texts), Predictor.load(classifier)(texts), strict=True
    ):
        assert row["label"] == wanted.label
        assert row["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)
        assert all(round(p, 6) == p for p in row["probabilities"].values())
    assert [row["text"] for row in answers(classifier, "--text", *texts)] == texts


def test_in_int8_answers_are_those_of_the_rounded_model(answers, classifier):
    texts = tiny.sentences(40)
    rows = answers(classifier, "--text", *texts, "--int8")
    for row, wanted in zip(rows, Predictor.load(classifier, int8=True)(texts), strict=True):
        assert row["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)
    assert rows != answers(classifier, "--text", *texts)


def test_rows_and_lines_of_files_are_answered_in_order(answers, classifier, tmp_path):
    files = {
        "a.txt": "the cat\n\n  the owl \n",
        "b.CSV": 'text,pair\n"the cat",the owl\nthe dog,\n',
        "c.jsonl": '{"text": "the cat", "pair": "the owl"}\n{"text": "the dog"}\n',
        "d.jsonl": '{"id": 7, "text": "the cat"}\n{"id": null, "text": "the dog"}\n',
        "e.tsv": "label\ttext\tid\n?\tthe cat\tx\n\tthe dog\ty\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    files["g.txt.gz"], files["h.jsonl.gz"] = files["a.txt"], files["d.jsonl"]
    for name in ("g.txt.gz", "h.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(files[name].encode()))
    table = pyarrow.table({"id": [3, 1], "text": ["the cat", "the dog"]})
    parquet.write_table(table, tmp_path / "f.parquet")
    found = {
        name: [row.get("id") or row.get("text") for row in answers(classifier, "--file", path)]
        for name in (*files, "f.parquet")
        for path in [tmp_path / name]
    }
    assert found == {
        "a.txt": ["the cat", "the owl"],
        "b.CSV": ["the cat", "the dog"],
        "c.jsonl": ["the cat", "the dog"],
        "d.jsonl": [7, "the dog"],
        "e.tsv": ["x", "y"],
        "f.parquet": [3, 1],
        "g.txt.gz": ["the cat", "the owl"],
        "h.jsonl.gz": [7, "the dog"],
    }


def test_standard_input_holds_rows_and_texts(answers, classifier, given):
    content = (
        '\ufeffthe cat\n\n{"id": "a", "text": "the owl"}\r\n{half of\n[1]\n'
        '{"text": "x", "pair": "y"}'
    )
    wanted = ["the cat", "a", "{half of", "[1]", "x"]
    for arguments in ([], ["--file", "-"]):
        given(content)
        found = answers(classifier, *arguments)
        assert [row.get("id", row.get("text")) for row in found] == wanted
    given("")
    assert answers(classifier) == []


def test_a_line_is_answered_before_the_next_one_is_written(classifier):
    with start("predict", classifier, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for text in ("the cat", "the owl", "猫"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.wait() == 0 and process.stdout.read() == ""


@hypothesis.given(st.lists(st.text("ab \n猫", max_size=9)), st.integers(1, 5))
def test_portions_are_the_lines_however_they_arrive(texts, size):
    """A stream cut into pieces of any size gives the numbered lines of the whole."""
    content = "\n".join(texts)
    stream = io.BytesIO(content.encode())
    portions = arriving_rows(lambda _: stream.read(size), "in")
    found = [(row.line, row.fields["text"]) for portion in portions for row in portion]
    lines = enumerate(content.split("\n"), start=1)
    assert found == [(number, line.strip()) for number, line in lines if line.strip()]


def test_a_named_pipe_is_read_once(answers, classifier, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"echo the cat > {pipe}"]):
        assert [row["text"] for row in answers(classifier, "--file", pipe)] == ["the cat"]


def test_out_is_written_whole_or_not_at_all(call, classifier, tmp_path):
    out = tmp_path / "deep" / "answers.jsonl"
    texts = ["the cat", "the owl"]
    assert call("predict", classifier, "--text", *texts, "--out", out)[:2] == (0, "")
    printed = call("predict", classifier, "--text", *texts).out
    assert out.read_text() == printed
    (tmp_path / "bad.jsonl").write_text('{"text": "the cat"}\n{"txt": "the owl"}\n')
    said = call("predict", classifier, "--file", tmp_path / "bad.jsonl", "--out", out)
    assert said.code == 2 and out.read_text() == printed
    assert os.listdir(out.parent) == [out.name]
    assert "is a folder" in call("predict", classifier, "--text", "x", "--out", tmp_path).err


def test_what_stands_before_a_fault_is_answered(call, classifier, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "the cat"}\n{"text": "the owl"}\n{"txt": "x"}\n{"text": "y"}\n')
    code, out, err = call("predict", classifier, "--file", bad)
    assert code == 2 and [json.loads(line)["text"] for line in out.splitlines()] == [
        "the cat", "the owl",
    ]  # fmt: skip
    fault = "no column 'text'; columns: txt; did you mean --columns text=txt?"
    assert err == f"plainformer predict: {bad}:3: {fault}\n"


@pytest.mark.parametrize("cell", ["", '"  "'])
def test_an_empty_cell_is_refused_by_line(call, classifier, tmp_path, cell):
    table = tmp_path / "texts.csv"
    table.write_text(f"text,id\nthe cat,1\n{cell},2\n")
    code, out, err = call("predict", classifier, "--file", table)
    assert code == 2 and json.loads(out)["text"] == "the cat"
    assert err == f"plainformer predict: {table}:3: the text is empty\n"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"text": " "}', "standard input:2: the text is empty"),
        (b'{"txt": 1}', "standard input:2: no column 'text'; columns: txt"),
        (b"\xff", "standard input:2: byte 0xff is not UTF-8"),
        (b'{"text": "\\ud800"}', "standard input:2: half of a surrogate pair"),
    ],
)
def test_a_fault_in_standard_input_is_named_by_line(call, classifier, given, line, fault):
    given(b"the cat\n" + line + b"\nthe owl\n")
    code, out, err = call("predict", classifier)
    assert code == 2 and json.loads(out)["text"] == "the cat"
    assert err.startswith(f"plainformer predict: {fault}") and err.count("\n") == 1


def test_cut_texts_are_counted(call, classifier):
    long = " ".join(tiny.sentences(20))
    said = call("predict", classifier, "--text", long, "the cat", long)
    assert said.err == "2 texts were cut to 32 tokens\n"
    assert call("predict", classifier, "--text", "the cat").err == ""


def test_texts_come_from_one_place(refused, classifier, tmp_path):
    (tmp_path / "a.txt").write_text("the cat\n")
    arguments = ["--text", "x", "--file", tmp_path / "a.txt"]
    assert "give either --text or --file" in refused("predict", classifier, *arguments)


@pytest.mark.parametrize(
    "command", [["predict"], ["explain"], *(["inspect", v] for v in ("attention", "neighbours"))]
)
@pytest.mark.parametrize(
    ("given", "fault"), [("--text", "--text has none"), ("--file", "text in each line")]
)
def test_columns_of_what_has_none_are_refused(refused, classifier, tmp_path, command, given, fault):
    (tmp_path / "a.txt").write_text("the cat\n")
    line = [*command, classifier, given, tmp_path / "a.txt", "--columns", "text=review"]
    assert fault in refused(*line)


def test_a_person_at_the_keyboard_is_asked_for_texts(refused, classifier, monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs) as keyboard:
        monkeypatch.setattr(sys, "stdin", keyboard)
        assert "give --text or --file, or pipe texts into standard input" in refused(
            "predict", classifier
        )


def test_a_bar_is_shown_where_it_is_in_nobodys_way(classifier):
    """On a terminal, and only where the answers go elsewhere."""
    command = [sys.executable, "-m", "plainformer", "predict", str(classifier), "--text", "the cat"]
    started = []
    for elsewhere in (True, False):
        ours, theirs = pty.openpty()
        stdout = subprocess.DEVNULL if elsewhere else theirs
        environment = {**os.environ, "TERM": "xterm"}
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=theirs, env=environment)
        os.close(theirs)
        started.append((elsewhere, process, ours))
    for elsewhere, process, ours in started:
        said = b""
        with contextlib.suppress(OSError):  # which Linux raises at the end
            while data := os.read(ours, 4096):
                said += data
        os.close(ours)
        assert process.wait() == 0
        assert (b"predicting" in said) == elsewhere != (b'{"text"' in said)


KEPT = {
    "a.csv": (
        "id,text,pair,label,note\n7,the cat,the owl,beast,\"a, b\"\n8,the hen,,bird,\n",
        {"id": "7", "text": "the cat", "pair": "the owl", "note": "a, b"},
    ),
    "a.jsonl": (
        '{"text": "the cat", "n": 1.5, "tags": ["x"], "more": {"y": null}, "label": "other"}\n',
        {"text": "the cat", "n": 1.5, "tags": ["x"], "more": {"y": None}, "given_label": "other"},
    ),
    "a.txt": ("the cat\n", {"text": "the cat"}),
    "a.tsv": ("probabilities\ttext\nmine\tthe cat\n",
              {"given_probabilities": "mine", "text": "the cat"}),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_a_row_keeps_its_columns(answers, classifier, tmp_path, name):
    content, wanted = KEPT[name]
    (tmp_path / name).write_text(content)
    row = answers(classifier, "--file", tmp_path / name)[0]
    found = {k: v for k, v in row.items() if k not in ("label", "probabilities", "given_label")}
    assert found == {k: v for k, v in wanted.items() if k != "given_label"}
    assert row["label"] in row["probabilities"] and len(row["probabilities"]) == 2
    if "given_label" in wanted:
        assert row["given_label"] == "other"


ENDINGS = {
    "x.csv": lambda path: list(csv.DictReader(path.open(newline=""))),
    "x.CSV": lambda path: list(csv.DictReader(path.open(newline=""))),
    "x.tsv": lambda path: [row.fields for row in read_rows(path)],
    "x.jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_file_has_the_form_of_its_ending(call, answers, classifier, tmp_path, name):
    """Read back by the csv module, and by our own readers."""
    source = tmp_path / "in.jsonl"
    texts = ['the "cat", 猫', "the owl", "=1+1 'x'"]
    source.write_text("".join(
        json.dumps({"id": n, "text": t, "n": [n], "b": True, "none": None}) + "\n"
        for n, t in enumerate(texts)))  # fmt: skip
    out = tmp_path / name
    assert call("predict", classifier, "--file", source, "--out", out)[:2] == (0, "")
    wanted = answers(classifier, "--file", source)
    found = ENDINGS[name](out)
    if name == "x.jsonl":
        assert found == wanted
        return
    assert [row["text"] for row in found] == texts
    assert [row["label"] for row in found] == [row["label"] for row in wanted]
    for row, answer in zip(found, wanted, strict=True):
        assert (row["id"], row["n"], row["b"]) == (str(answer["id"]), f"[{answer['id']}]", "true")
        assert not row["none"]
        for label, probability in answer["probabilities"].items():
            assert float(row[f"probabilities.{label}"]) == probability
    assert [row.string("text") for row in read_rows(out)] == texts


@pytest.mark.parametrize("name", ["x.json", "x", "x.txt", "x.csv.gz", "x.parquet", "x.xlsx"])
def test_other_endings_are_refused_before_any_work(refused, classifier, tmp_path, name):
    message = refused("predict", tmp_path / "nowhere", "--text", "a", "--out", tmp_path / name)
    assert f"{name} must end in .jsonl, .csv, .tsv" in message and not list(tmp_path.iterdir())


ODD_ROWS = {
    "x.tsv": ('{"text": "a\\tb"}\n', "in.jsonl:1: a .tsv cannot hold a tab or a line break"),
    "y.tsv": ('{"text": "a\\nb"}\n', "in.jsonl:1: a .tsv cannot hold a tab or a line break"),
    "x.csv": (
        '{"text": "a"}\n{"text": "b", "new": 1}\n',
        "in.jsonl:2: the first row has no column",
    ),
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_what_fits_no_table_is_named_by_line(refused, classifier, tmp_path, name):
    content, message = ODD_ROWS[name]
    (tmp_path / "in.jsonl").write_text(content)
    out = tmp_path / name
    assert message in refused("predict", classifier, "--file", tmp_path / "in.jsonl", "--out", out)
    assert not out.exists()


def test_a_device_takes_lines_of_json(call, classifier):
    code, out, _ = call("predict", classifier, "--text", "the cat")
    assert code == 0 and json.loads(out)["text"] == "the cat"
    check_format(Path("/dev/null"))


def test_a_line_without_end_on_a_stream_is_refused(monkeypatch):
    monkeypatch.setattr("plainformer.finetune.prediction.inputs.LONGEST_LINE", 1 << 20)
    with pytest.raises(UserError, match="in: a line is longer than 1 MiB: split it"):
        list(arriving_rows(lambda _: b"x" * 2**16, "in"))


@pytest.mark.parametrize("first", ["bird", "[b]beast[/b]"])
def test_a_table_has_the_given_labels_right_or_wrong(call, classifier, tmp_path, first):
    """Whatever the model says of the first row, which decides the columns."""
    labels = [first, "bird", "[b]beast[/b]", ""]
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text,label\n" + "".join(f"the hen,{label}\n" for label in labels))
    assert call("predict", classifier, "--file", source, "--out", out).code == 0
    rows = list(csv.DictReader(out.open(newline="")))
    assert [row["given_label"] for row in rows] == labels
    assert len({row["label"] for row in rows}) == 1
