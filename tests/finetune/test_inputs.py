"""What is no text is refused alike, wherever texts are taken; nothing is dropped unsaid."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.corpora import Columns, Row, read_rows
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import Predictor
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch
from plainformer.finetune.data.rows import as_rows, bounded
from plainformer.finetune.prediction.inputs import Inputs
from plainformer.finetune.prediction.outputs import answer, open_output, writer
from plainformer.finetune.prediction.predictor import encode_all
from plainformer.finetune.tasks.classification import ClassExample, Classification, ClassPrediction
from plainformer.tokenizer import as_list
from plainformer.tokenizer.inputs import LONGEST_TEXT
from tests.finetune.inputs import LISTS, PAIRS, TEXTS, of_many, of_one
from tests.finetune.test_run import ROOT
from tests.pretrain import tiny


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, str]]:
    command = [sys.executable, "-m", "tests.finetune.inputs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", [*of_one, *of_many])
def test_what_is_no_text_is_refused(said, call):
    for case, (given, message) in TEXTS.items():
        if call == "encode, the pair" and given is None:
            continue  # no pair at all
        assert message in said[call][case], case
        assert "\n" not in said[call][case] and len(said[call][case]) < 150
        assert call in of_one or said[call][case].split()[1] == "2"  # its number in the list


@pytest.mark.parametrize("call", of_many)
def test_what_is_no_pair_and_what_is_no_list(said, call):
    for case, (_, message) in (PAIRS | LISTS).items():
        assert message in said[call][case], case
    for case in PAIRS:
        assert said[call][case].split()[1].startswith("2")


def test_words_are_no_string(said):
    assert "word_tokens(text.split())" in said["word_tokens"]["a string"]


def test_whatever_holds_texts_is_a_list(tokenizer):
    wanted = tokenizer.batch(["the cat", "a"])["input_ids"].tolist()
    for given in (["the cat", "a"], np.array(["the cat", "a"])):
        assert tokenizer.batch(as_list(given))["input_ids"].tolist() == wanted
    assert as_list(iter("ab")) == as_list({"a": 1, "b": 2}.keys()) == ["a", "b"]
    fields = [row.fields for row in as_rows(["a", ("a", "b"), ["a", "b"], {"text": "a", "id": 1}])]
    pair = {"text": "a", "pair": "b"}
    assert fields == [{"text": "a"}, pair, pair, {"text": "a", "id": 1}]


@pytest.fixture(scope="module")
def predictor(tokenizer) -> Predictor:
    torch.manual_seed(1)
    task = Classification(labels=("a", "b"), max_length=16, overflow="windows")
    return Predictor(task, SequenceClassifier(tiny.shape("bert", tokenizer), ("a", "b")), tokenizer)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [(1, 30, 1), (6, 30, 6), (7, 30, 6), (12, 30, 6), (13, 30, 6), (40, 30, 6), (40, 0, 13),
     (40, 2, 11), (9, 4, 9), (1, 1, 1)],
)  # fmt: skip
def test_windows_of_a_pair_leave_room_for_both(tokenizer, predictor, first, second, kept):
    """Half of the room (13 of 16 tokens) is the second text's, if it needs so much."""
    word = next(w for w in ["the", "cat", "dog"] if len(tokenizer.tokens(w)) == 1)
    texts = [" ".join([word] * count) for count in (first, second)]
    example = ClassExample(text=texts[0], pair=texts[1], label=None, source="f:1")
    encodings = predictor.task.encodings(example, tokenizer)
    assert {encoding.sequence_ids.count(0) for encoding in encodings} == {kept}
    assert {encoding.dropped for encoding in encodings} == {first - kept}
    assert max(map(len, encodings)) <= 16
    seen = [
        {w for w, s in zip(e.word_ids, e.sequence_ids, strict=True) if s == 1} for e in encodings
    ]
    assert set().union(*seen) == set(range(second))
    (prediction,) = predictor([tuple(texts)])
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_a_fault_of_the_tokenizer_is_named_by_file_and_line(tokenizer, predictor):
    for text, pair, message in (
        ("\ud800", None, r"f\.csv:7: text contains a lone surrogate"),
        ("a", "\udfff", r"f\.csv:7: text contains a lone surrogate"),
    ):
        example = ClassExample(text=text, pair=pair, label=None, source="f.csv:7")
        with pytest.raises(UserError, match=message):
            list(encode_all(predictor.task, tokenizer, [example]))
    short = Classification(labels=("a", "b"), max_length=3)
    example = ClassExample(text="a", pair="b", label=None, source="f.csv:7")
    with pytest.raises(UserError, match=r"f\.csv:7: max_length 3 is too short"):
        list(encode_all(short, tokenizer, [example]))
    example = ClassExample(text="a", label="c", source="f.csv:7")
    with pytest.raises(UserError, match=r"^f\.csv:7: the label 'c' is not among"):
        list(encode_all(short, tokenizer, [example]))


def test_many_windows_are_computed_in_parts(tokenizer, predictor, monkeypatch):
    text = " ".join(tiny.sentences(900))
    example = ClassExample(text=text, label=None, source="f:1")
    ((_, item),) = encode_all(predictor.task, tokenizer, [example])
    batch = Batch.of([item])
    assert batch.num_tokens > 2 * BATCH_TOKENS
    sizes = []
    predictor.model.register_forward_hook(lambda m, given, _: sizes.append(len(given[0])))
    predictor.model.eval()
    whole = predictor.task.outputs(predictor.model, batch)
    with torch.no_grad():
        in_parts = predictor.task.outputs(predictor.model, batch)
    assert torch.allclose(whole, in_parts, atol=1e-6)
    assert sizes[0] == sum(sizes[1:]) and max(sizes[1:]) <= BATCH_TOKENS and len(sizes) > 3


@pytest.mark.parametrize("name", ["text", "pair", "context", "note"])
def test_a_text_beyond_bounds_is_named_by_file_and_line(name):
    fine = Row({"text": "a"}, "f.jsonl", 1)
    long = Row({"text": "a", name: "x" * (LONGEST_TEXT + 1)}, "f.jsonl", 2)
    rows = bounded([fine, long])
    assert next(rows) is fine
    with pytest.raises(UserError, match=rf"f\.jsonl:2: column '{name}' has 4,194,305 characters"):
        next(rows)


SAID = ClassPrediction("None", {"None": 0.75, "b": 0.25})


def predicted(folder: Path, rows: Iterable[Row]) -> Path:
    """Write a prediction for each row as CSV."""
    path = folder / "out.csv"
    with open_output(path) as file:
        write = writer(file, ".csv")
        for row in rows:
            write(row, SAID)
    return path


def test_predictions_are_predicted_again_and_keep_every_column(tmp_path):
    first = predicted(tmp_path, [Row({"text": "x", "label": "a"}, "f", 1)])
    again = predicted(tmp_path, [*read_rows(first)])
    (found,) = read_rows(again)
    assert found.fields == {
        "text": "x",
        "given_label": "a",
        "given_given_label": "None",
        "given_probabilities.None": "0.75",
        "given_probabilities.b": "0.25",
        "label": "None",
        "probabilities.None": "0.75",
        "probabilities.b": "0.25",
    }


@pytest.mark.parametrize("own", [{}, {"text": "the title"}])
def test_a_column_keeps_its_name_and_one_of_the_name_of_a_field_is_kept(own):
    rows = [Row({**own, "review": "fine"}, "f", 1)]
    (row,) = Columns({"text": "review"}, frozenset({"text"})).of(rows)
    assert row.fields["text"] == "fine"
    assert answer(row, SAID) == {**own, "review": "fine", **SAID.to_json()}
    (other,) = Columns({"text": "review"}).of([Row({"text": "fine"}, "f", 1)])
    assert answer(other, SAID)["text"] == "fine"


def test_a_csv_is_read_as_it_was_written(tmp_path):
    texts = ["a\rb", "a\nb", 'a "b", c', "NA", "", "plain"]
    path = predicted(tmp_path, [Row({"text": text}, "f", n) for n, text in enumerate(texts)])
    rows = [*read_rows(path)]
    assert [row.fields["text"] for row in rows] == texts
    assert {row.sure_string("label") for row in rows} == {"None"}
    assert rows[3].sure_string("text") == "NA"
    with path.open(newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == texts
    (tmp_path / "in.csv").write_text("text,note\na,NA\n")
    (row,) = read_rows(predicted(tmp_path, read_rows(tmp_path / "in.csv")))
    with pytest.raises(UserError, match="may be a missing value"):
        row.sure_string("note")


def test_where_a_file_has_more_inputs_than_are_read_it_is_said(tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("one\ntwo\nthree\n")
    task = Classification(labels=("a", "b"), max_length=8)
    given = Inputs(file=str(tmp_path / "texts.txt"))
    assert len(list(given.first(task, 2))) == 2
    assert "only the first 2 inputs were read" in capsys.readouterr().err
    assert len(list(given.first(task, 3))) == 3
    assert len(list(Inputs(texts=("a", "b", "c")).first(task, 2))) == 3
    assert not capsys.readouterr().err
