"""Files as people have them: what they mean for a task, and what is said of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError, write_text
from plainformer.corpora import Columns
from plainformer.finetune import (
    TASKS,
    ClassificationOptions,
    FinetuneConfig,
    Predictor,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.data.leakage import fingerprint
from plainformer.finetune.data.remarks import of_labels
from plainformer.finetune.data.split import hold_out
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.tagging.iob import spans
from plainformer.finetune.tasks.tagging.remarks import of_tags
from plainformer.finetune.tasks.tagging.sentences import read_sentence, sentence_rows
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.pretrain import tiny


def read(folder: Path, task: Any, name: str, content: str, *columns: str) -> list[Any]:
    write_text(folder / name, content)
    return list(read_examples(task, str(folder / name), "train", task.naming(columns)))


@pytest.mark.parametrize("value", ["null", "NaN"])
@pytest.mark.parametrize("name", ["text", "label"])
def test_what_is_missing_in_json_is_missing(tmp_path, name, value):
    row = {"text": '"t"', "label": '"x"'} | {name: value}
    line = "{" + ", ".join(f'"{key}": {written}' for key, written in row.items()) + "}"
    with pytest.raises(UserError, match=rf"f\.jsonl:1: no value in column '{name}'"):
        read(tmp_path, Classification, "f.jsonl", line)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_is_missing_in_parquet_is_missing(tmp_path, value):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    table = pyarrow.table({"text": ["a", "b"], "label": [1.0, value]})
    parquet.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(UserError, match=r"f\.parquet:2: no value in column 'label'"):
        list(read_examples(Classification, str(tmp_path / "f.parquet"), "train"))


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("x", "x"),
        (" x ", "x"),
        ("none", "none"),
        ("[b]beast[/b]", "[b]beast[/b]"),
        ("[1]", "[1]"),
        ("['pos']", "pos"),
        ("\"['pos', 'neg']\"", "is not one label: see the task multi-label"),
        ('"NA"', "NA"),
        ('"None"', "None"),
        ('"nan"', "nan"),
        ("0", "0"),
        ("NA", "may be a missing value"),
        ("None", "may be a missing value"),
        ("nan", "may be a missing value"),
        ("<NA>", "may be a missing value"),
        ("", "the label is empty"),
        ("  ", "the label is empty"),
    ],
)
def test_a_label_in_csv(tmp_path, cell, label):
    content = f"text,label\nNA,{cell}\n"
    if " " in label:
        with pytest.raises(UserError, match=rf"f\.csv:2: .*{label}"):
            read(tmp_path, Classification, "f.csv", content)
    else:
        (found,) = read(tmp_path, Classification, "f.csv", content)
        assert (found.label, found.text) == (label, "NA")


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['joy', 'anger']", ("joy", "anger")),
        ('["joy", "anger"]', ("joy", "anger")),
        ("('joy', 'anger')", ("joy", "anger")),
        ("['Science, technology']", ("Science, technology",)),
        ('{"choices": ["joy", "anger"]}', ("joy", "anger")),
        ("joy|anger", ("joy", "anger")),
        ("joy;anger", ("joy", "anger")),
        ("joy, anger", ("joy", "anger")),
        ("[]", ()),
        ("[2, 14]", ("2", "14")),
        ("joy", ("joy",)),
        ("", "no value in column 'labels'"),
        ("NA", "may be a missing value"),
        ("['joy' 'anger']", "neither a JSON list"),
        ("[joy, anger]", "neither a JSON list"),
        ("{'joy', 'anger'}", "neither a JSON list"),
        ("[0, 1, 0]", "is a vector"),
        ("[0.0, 1.0]", "is a vector"),
        ("[False, True]", "is a vector"),
        ("0 1 0 0", "is a vector"),
        ("0,1,0", "is a vector"),
    ],
)
def test_labels_in_a_cell(tmp_path, cell, labels):
    """Read rightly, or refused; and the same in the string of a line of JSON."""
    quoted = cell.replace('"', '""')
    files = {"f.csv": f'text,labels\nt,"{quoted}"\n'}
    if cell == "NA":
        files = {"f.csv": "text,labels\nt,NA\n"}
    else:
        files["f.jsonl"] = json.dumps({"text": "t", "labels": cell})
    for name, content in files.items():
        if isinstance(labels, tuple):
            (found,) = read(tmp_path, MultiLabel, name, content)
            assert found.labels == labels
        else:
            with pytest.raises(UserError, match=labels):
                read(tmp_path, MultiLabel, name, content)


@pytest.mark.parametrize("vector", [[0, 1, 1], [1.0, 0.0], [True, False, True]])
def test_a_vector_in_json_is_no_list_of_names(tmp_path, vector):
    with pytest.raises(UserError, match=r"f\.jsonl:1: .* is a vector, which names no label"):
        read(tmp_path, MultiLabel, "f.jsonl", json.dumps({"text": "t", "labels": vector}))


def test_a_column_for_each_label(tmp_path):
    content = "comment,toxic,insult\na,1,0\nb,0,0\nc,1.0,TRUE\n"
    found = read(tmp_path, MultiLabel, "f.csv", content, "text=comment", "labels=toxic,insult")
    assert [e.labels for e in found] == [("toxic",), (), ("toxic", "insult")]


@pytest.mark.parametrize(
    ("row", "columns", "found"),
    [
        ({"id": 1, "text": "t", "label": ["pos"], "Comments": []}, (), "pos"),  # doccano
        ({"text": "t", "accept": ["pos"], "answer": "accept"}, ("label=accept",), "pos"),  # Prodigy
        ({"text": "t", "label": "pos", "answer": "accept", "_input_hash": 7}, (), "pos"),
        ({"text": "t", "label": "pos", "answer": "reject", "_input_hash": 7}, (), "'reject', so"),
        ({"text": "t", "label": ["pos", "neg"]}, (), "is not one label: see the task multi-label"),
        ({"text": "t", "label": []}, (), "is not one label"),
        ({"text": "t", "label": [" "]}, (), "the label is empty"),
        ({"text": "t", "label": [["a"]]}, (), "is not one label"),
        ({"text": "t", "label": {"a": 1}}, (), "is not one text"),
    ],
)
def test_what_tools_for_labelling_export(tmp_path, row, columns, found):
    content = json.dumps(row)
    if " " in found:
        with pytest.raises(UserError, match=rf"f\.jsonl:1: .*{found}"):
            read(tmp_path, Classification, "f.jsonl", content, *columns)
    else:
        (example,) = read(tmp_path, Classification, "f.jsonl", content, *columns)
        assert example.label == found


def test_words_are_found_by_their_own_name_where_training_had_another(tmp_path):
    file = tmp_path / "f.csv"
    file.write_text("words\nEU rejects\n")
    (row,) = sentence_rows(file, Columns({"words": "tokens"}))
    assert read_sentence(row, labelled=False).words == ("EU", "rejects")


def test_tagged_words_are_not_read_from_json(tmp_path):
    with pytest.raises(UserError, match=r"f\.json: write the JSON as \.jsonl"):
        read(tmp_path, Tagging, "f.json", '[{"words": ["EU"], "tags": ["O"]}]\n')


EU = (("EU", "rejects", "."), ("B-ORG", "O", "O"))
PETER = (("Peter",), ("B-PER",))


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("f.csv", "words,tags\nEU rejects .,B-ORG O O\nPeter,B-PER\n", ()),
        (
            "f.csv",
            "words;tags\n\"['EU', 'rejects', '.']\";\"['B-ORG', 'O', 'O']\"\n['Peter'];['B-PER']\n",
            (),
        ),
        ("f.tsv", 'words\ttags\n["EU", "rejects", "."]\tB-ORG O O\nPeter\tB-PER\n', ()),
        ("f.csv", "word,tag\nEU,B-ORG\nrejects,O\n.,O\n,\nPeter,B-PER\n", ()),
        ("f.csv", "word,tag\nEU,B-ORG\nrejects,O\n.,O\n\n\nPeter,B-PER\n", ()),
        ("f.tsv", "word\ttag\nEU\tB-ORG\nrejects\tO\n.\tO\n\nPeter\tB-PER\n", ()),
        ("f.csv", "sentence,word,tag\n1,EU,B-ORG\n1,rejects,O\n1,.,O\n2,Peter,B-PER\n", ()),
        (
            "f.csv",
            ",Sentence #,Word,Tag\n0,Sentence: 1,EU,B-ORG\n1,,rejects,O\n2,,.,O\n"
            "3,Sentence: 2,Peter,B-PER\n",
            ("sentence=Sentence #", "word=Word", "tag=Tag"),
        ),
        ("f.tsv", "EU\tB-ORG\nrejects\tO\n.\tO\n\nPeter\tB-PER\n", ()),
        ("f.txt", "EU NNP B-ORG\nrejects VB O\n. . O\n\nPeter NNP B-PER\n", ()),
        (
            "f.jsonl",
            '{"tokens": ["EU", "rejects", "."], "ner": ["B-ORG", "O", "O"]}\n'
            '{"tokens": ["Peter"], "ner": ["B-PER"]}\n',
            ("words=tokens", "tags=ner"),
        ),
    ],
)
def test_tagged_words_in_any_layout(tmp_path, name, content, columns):
    found = read(tmp_path, Tagging, name, content, *columns)
    assert [(s.words, s.tags) for s in found] == [EU, PETER]
    for sentence in found:
        for place, word in enumerate(sentence.words):
            line = int(sentence.source_of(place).rpartition(":")[2])
            assert word in content.splitlines()[line - 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Word,Tag\nEU,B-ORG\n", "no column 'words' .a row is a sentence. or 'word'"),
        ("words,tags\n" + "EU,B-ORG\n" * 30, "each row holds one word: use --columns word="),
        ("word,tag\n" + "EU,B-ORG\n" * 1100, "sentences are not separated"),
        ("sentence_id,word,tag\n1,a,O\n2,b,O\n", "did you mean --columns sentence=sentence_id"),
        ("word,pos\nEU,B-ORG\n", "f.csv:2: no column 'tags'; columns: word, pos, words"),
        ("words,tags\nEU rejects,B-ORG\n", "f.csv:2: 1 tag for 2 words"),
        ("sentence,word,tag\n1,a,O\n2,b,O\n1,c,O\n", "f.csv:4: sentence '1' continues here"),
        ("word,tag\nEU,B-ORG\n,O\n", "f.csv:3: the word is empty"),
        ("word,tag\nEU,B-ORG\nof,\n", "f.csv:3: the tag of 'of' is empty"),
    ],
)
def test_tables_of_tagged_words_that_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, Tagging, "f.csv", content)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("B-PER I-PER O B-LOC", "IOB2: LOC, PER"),
        ("I-PER I-PER O B-PER", "IOB1: PER"),
        ("B-PER E-PER O S-LOC", "BIOES: LOC, PER"),
        ("B-PER L-PER O U-LOC", "BILOU: LOC, PER"),
        ("B-PER M-PER E-PER O", "BMES: PER"),
        ("B E S B", "BIOES: _"),
        ("NN VB O NN", "plain labels"),
        ("PRP$ NN-TL VB", "plain labels"),
        ("N V A N S", "plain labels"),
        ("PER_B PER_I O O", "'PER_B' .the position behind."),
        ("B_PER I_PER O O", "'B_PER' .another sign than -."),
        ("B.PER O O O", "'B.PER'"),
        ("b-per i-per o o", "'b-per' .a small letter."),
        ("PERSON-B PERSON-I O O", "'PERSON-B'"),
        ("PER/S O O", "'PER/S'"),
        ("0 1 2 0", "the tags are numbers"),
        ("O O O PERSON", "most words have the tag O"),
    ],
)
def test_how_tags_are_read_is_said(tags, said):
    import re

    lines = of_tags([tuple(tags.split())])
    assert re.search(said, " ".join(lines))
    assert (len(lines) > 1) == (said[0] in "'tm"), "a warning where it may be meant otherwise"
    if len(lines) == 1 and "entities" in lines[0]:
        assert spans(tags.split())


def labelled(labels: str, texts: str | None = None) -> list[ClassExample]:
    given = texts or [f"text {i}" for i in range(len(labels))]
    return [
        ClassExample(text=text, label=label, source=f"f:{i}")
        for i, (text, label) in enumerate(zip(given, labels, strict=True))
    ]


@settings(max_examples=30)
@given(st.lists(st.sampled_from("aaab"), min_size=20, max_size=200), st.sampled_from([0.1, 0.25]))
def test_what_is_held_out_is_a_fair_share_of_each_label(labels, share):
    examples = labelled("".join(labels))
    learned, held = hold_out(examples, share)
    assert sorted(e.source for e in [*learned, *held]) == sorted(e.source for e in examples)
    assert (learned, held) == hold_out(examples, share)
    for label, count in Counter(labels).items():
        taken = sum(e.label == label for e in held)
        assert abs(taken - share * count) <= 1 and taken < count
    shuffled = sorted(examples, key=lambda e: e.preview[::-1])
    assert {e.preview for e in hold_out(shuffled, share)[1]} == {e.preview for e in held}, (
        "the order in the file does not matter"
    )


@given(st.lists(st.sampled_from(["a", "A!", "b", "c", "d", "e", "f"]), min_size=8, max_size=40))
def test_copies_of_a_text_stand_on_one_side(texts):
    examples = labelled("x" * len(texts), texts)
    if len({t.strip("!").lower() for t in texts}) < 4:
        return
    learned, held = hold_out(examples, 0.5)
    sides = [{fingerprint(e.preview) for e in side} for side in (learned, held)]
    assert not sides[0] & sides[1] and len(learned) + len(held) == len(texts)


def test_too_few_to_hold_out():
    with pytest.raises(UserError, match=r"f: too few different examples \(5\) to hold some out"):
        hold_out(labelled("ababa"), 0.1)


def test_numbers_are_spread_by_their_size(tmp_path):
    rows = "".join(f"text {i},{i}\n" for i in range(100))
    examples = read(tmp_path, Regression, "f.csv", "text,score\n" + rows)
    _, held = hold_out(examples, 0.1)
    assert [int(e.score // 10) for e in sorted(held, key=lambda e: e.score)] == list(range(10))


def config(**changes: Any) -> FinetuneConfig:
    paths = {"model": Path("m"), "train": "t", "out": Path("o")}
    return config_of(ClassificationOptions, **{**paths, **changes})


def test_what_is_said_of_labels():
    lines = of_labels({"ham": 120, "spam": 10, "Spam": 40}, config().task)
    assert lines[0] == "3 labels: ham 120, Spam 40, spam 10"
    assert "'Spam' and 'spam' are learned as different labels" in lines[1]
    assert "'ham' occurs 12 times as often as 'spam'; see --balance" in lines[2]
    assert len(of_labels({"ham": 120, "spam": 10}, config(balance="weights").task)) == 1
    many = of_labels({f"l{i}": 100 - i for i in range(50)}, config().task)
    assert many == [
        "50 labels: l0 100, l1 99, l2 98, l3 97, l4 96, l5 95, l6 94, 42 more, …, l49 51"
    ]


def test_a_text_that_may_be_missing_and_labels_that_were_parted_are_said(tmp_path):
    found = read(tmp_path, Classification, "f.csv", "text,label\nNA,x\nb,y\nnull,x\n")
    assert "2 texts read 'NA' " in Classification.remarks(config(), found)[-1]
    found = read(tmp_path, MultiLabel, "f.csv", 'text,labels\nt,"a, b"\nt,c\n')
    assert "labels are split at ','" in MultiLabel.remarks(config(), found)[-1]


def rows(seed: int) -> list[tuple[str, str]]:
    texts = tiny.sentences(120, seed)
    return [(t, "bird" if t.split()[2] in ("hen", "owl") else "beast") for t in texts]


def test_from_a_spreadsheet_to_predictions(models, tmp_path, capsys) -> None:
    """Excel's file, its columns named once: learned without --valid, evaluated, asked."""
    excel = "\ufeffReview;Stars\r\n" + "".join(f"{t};{label}\r\n" for t, label in rows(0))
    write_text(tmp_path / "train.csv", excel)
    (tmp_path / "test.csv").write_bytes(excel.removeprefix("\ufeff").encode("utf-16"))
    wanted = config(
        model=models["modern"],
        train=str(tmp_path / "train.csv"),
        out=tmp_path / "run",
        epochs=1,
        max_length=24,
        columns=("text=Review", "label=Stars"),
        training=LoopConfig(learning_rate=1e-6, eval_every=0, checkpoint_every=0),
    )
    outcome = finetune(wanted)
    said = capsys.readouterr().err
    held = outcome.metric.count
    assert f"no --valid: {held} of the 120 examples of train.csv are held out" in said
    assert "2 labels: beast" in said
    assert any("never predicted" in warning for warning in outcome.warnings)
    assert "warning: never predicted on the validation examples: 'b" in said
    saved = json.loads((wanted.out / "task.json").read_text())
    assert saved["columns"] == ["text=Review", "label=Stars"]

    assert evaluate_folder(wanted.out, str(tmp_path / "test.csv"), quiet=True).metric.count == 120
    write_text(tmp_path / "other.csv", "body,label\nthe red hen,bird\n")
    with pytest.raises(UserError, match=r"other.csv:2: no column 'Review'; columns: body, label"):
        evaluate_folder(wanted.out, str(tmp_path / "other.csv"), quiet=True)
    columns = ("text=body", "label=label")
    other = evaluate_folder(wanted.out, str(tmp_path / "other.csv"), quiet=True, columns=columns)
    assert other.metric.count == 1
    predictor = Predictor.load(wanted.out)
    one, same, text = predictor([{"Review": "the red hen"}, {"text": "the red hen"}, "the red hen"])
    assert one.probabilities == same.probabilities == text.probabilities


def test_every_task_says_which_columns_it_has():
    for kind in TASKS.values():
        assert kind.COLUMNS and kind.naming([f"{kind.COLUMNS[0]}=x"]).named == {
            kind.COLUMNS[0]: "x"
        }
    with pytest.raises(UserError, match=r"--columns lable=x: .* did you mean label"):
        Classification.naming(["lable=x"])
