"""Labelled texts: faults by file and line, pairs as pairs, few of each label."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.finetune import few_of_each, read_examples
from plainformer.finetune.tasks.classification import ClassExample, Classification, label_names


def read(path: Path) -> list[ClassExample]:
    return list(read_examples(Classification, str(path), "train"))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (
            "a.csv",
            "sentence,label\nhi,x\n",
            r"a\.csv:2: no column 'text'; columns: sentence, label",
        ),
        ("a.csv", "text,label\nhi,x\n  ,y\n", r"a\.csv:3: the text is empty"),
        ("a.csv", "text,label\nhi,x\nho,\n", r"a\.csv:3: the label is empty"),
        ("a.jsonl", '{"text": "hi", "label": null}\n', r"a\.jsonl:1: no value in column 'label'"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n{"text"\n', r"a\.jsonl:2: not JSON"),
        ("a.tsv", "text\tlabel\nhi\n", r"a\.tsv:2: 1 value under 2 columns"),
        ("a.tsv", "", r"a\.tsv is empty"),
        ("a.tsv", "text\tlabel\n", r"a\.tsv has no rows"),
        ("a.txt", "hi there\n", r"a\.txt: labelled examples are read from"),
        ("a.tsv", "text\tlabel\nh\0i\tx\n", r"a\.tsv is not UTF-8 text"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, name, content, fault):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=fault):
        read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*none\.csv"):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["text", "pair", "label"])
def test_a_list_is_no_text(name, tmp_path):
    row = {"text": "a", "pair": "b", "label": "c"} | {name: ["a", "b"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    fault = "is not one label" if name == "label" else "column '.*' is not one text: .'a'"
    with pytest.raises(UserError, match=rf"rows\.jsonl:1: .*{fault}"):
        read(tmp_path / "rows.jsonl")


def test_rows_are_read_with_their_place_and_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "pair": "b", "label": 1}\n{"text": 7, "label": true, "more": []}\n'
    )
    first, second = read(tmp_path / "a.jsonl")
    assert first == ClassExample(text="a", pair="b", label="1", source=f"{tmp_path / 'a.jsonl'}:1")
    assert second == ClassExample(text="7", label="True", source=f"{tmp_path / 'a.jsonl'}:2")


def examples(labels: str) -> list[ClassExample]:
    return [
        ClassExample(text=f"text {i}", label=label, source=f"f:{i}")
        for i, label in enumerate(labels)
    ]


def test_labels_are_sorted_and_more_than_one():
    assert label_names(examples("bcab")) == ("a", "b", "c")
    with pytest.raises(UserError, match="f: every example has the label 'a'"):
        label_names(examples("aaa"))


def test_an_unseen_label_is_named_with_those_that_are_known(tokenizer):
    task = Classification(labels=("a", "b"), max_length=16)
    with pytest.raises(UserError, match=r"f:2: the label 'c' is not among .*: a, b$"):
        [task.encode(example, tokenizer) for example in examples("abca")]


@given(st.text("abc", min_size=1, max_size=40), st.integers(1, 12), st.integers(0, 9))
def test_a_few_of_each_label(labels, count, seed):
    every = examples(labels)
    some = few_of_each(every, count, seed)
    assert len(set(some)) == len(some) and set(some) <= set(every)
    wanted = {label: min(count, n) for label, n in Counter(labels).items()}
    assert Counter(example.label for example in some) == wanted
    assert few_of_each(every, count, seed) == some


def test_another_seed_draws_others():
    every = examples("ab" * 50)
    assert few_of_each(every, 5, 0) != few_of_each(every, 5, 1)
