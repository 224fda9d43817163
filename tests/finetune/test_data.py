"""Labelled texts: faults by file and line, every text once, pairs as pairs."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellar import UserError
from finetune import Example, Texts, few_of_each, label_names, read_examples
from tests.pretrain import tiny


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
        ("a.jsonl", '{"text": "hi", "label": "x"}\n{"text"\n', r"a\.jsonl:2: not a line of JSON"),
        ("a.tsv", "text\tlabel\nhi\n", r"a\.tsv:2: 1 values under 2 columns"),
        ("a.tsv", "", r"a\.tsv is empty"),
        ("a.tsv", "text\tlabel\n", r"a\.tsv holds no rows"),
        ("a.txt", "hi there\n", r"a\.txt: labelled examples are read from"),
        ("a.tsv", "text\tlabel\nh\0i\tx\n", r"a\.tsv is not a text file"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, name, content, fault):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=fault):
        read_examples(str(tmp_path / name), "train")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*none\.csv"):
        read_examples(str(tmp_path / "none.csv"), "train")


def test_rows_are_read_with_their_place_and_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "pair": "b", "label": 1}\n{"text": 7, "label": true, "more": []}\n'
    )
    first, second = read_examples(str(tmp_path / "a.jsonl"), "train")
    assert first == Example(("a", "b"), "1", f"{tmp_path / 'a.jsonl'}:1")
    assert second == Example("7", "True", f"{tmp_path / 'a.jsonl'}:2")


def examples(labels: str) -> list[Example]:
    return [Example(f"text {i}", label, f"f:{i}") for i, label in enumerate(labels)]


def test_labels_are_sorted_and_more_than_one():
    assert label_names(examples("bcab")) == ["a", "b", "c"]
    with pytest.raises(UserError, match="f: every example has the label 'a'"):
        label_names(examples("aaa"))


def test_an_unseen_label_is_named_with_those_that_are_known(tokenizer):
    with pytest.raises(UserError, match=r"f:2: the label 'c' is not among .*: a, b$"):
        Texts.of(examples("abca"), ["a", "b"], tokenizer, 16)


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


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 60))
def test_by_length_gives_every_text_once(tokenizer, lengths, budget):
    words = [" ".join(["the"] * n + ["."]) for n in lengths]
    numbers = [Example(text, "ab"[i % 2], f"f:{i}") for i, text in enumerate(words)]
    texts = Texts.of(numbers, ["a", "b"], tokenizer, 64)
    seen: list[int] = []
    for chosen, batch in texts.by_length(budget):
        assert batch.num_tokens <= budget or len(chosen) == 1
        assert batch.labels.tolist() == [i % 2 for i in chosen]
        parts = batch.input_ids.split(list(batch.sequences.lengths))
        assert [p.tolist() for p in parts] == [texts.encodings[i].ids for i in chosen]
        seen += chosen
    assert sorted(seen) == list(range(len(lengths)))


def test_pairs_have_two_types(tokenizer):
    pair = Example(("the cat .", "the dog eats ."), "a", "f:1")
    texts = Texts.of([pair, Example("the cat .", "b", "f:2")], ["a", "b"], tokenizer, 32)
    batch = texts.batch([0, 1])
    single, double = (
        part.tolist() for part in batch.token_type_ids.split(list(batch.sequences.lengths))
    )
    assert set(single) == {0}
    first = len(tokenizer.encode("the cat ."))
    assert double == [0] * first + [1] * (len(double) - first) and len(double) > first
    assert batch.labels.tolist() == [1, 0]
    wanted = tokenizer.batch([("the cat .", "the dog eats .")])
    assert torch.equal(batch.input_ids[len(single) :], wanted["input_ids"][0])


def test_cut_texts_are_counted(tokenizer):
    every = [Example(text, "a", "f:1") for text in [*tiny.sentences(3), "the .", "the the ."]]
    texts = Texts.of(every, ["a"], tokenizer, 8)
    assert texts.num_cut == 3
    assert max(len(encoding) for encoding in texts.encodings) == 8
    assert Texts.of(every, ["a"], tokenizer, 64).num_cut == 0
    assert np.array_equal(texts.labels, np.zeros(5))


@pytest.mark.parametrize("name", ["text", "pair", "label"])
def test_a_list_is_no_text(name: str, tmp_path: Path) -> None:
    row = {"text": "a", "pair": "b", "label": "c"} | {name: ["a", "b"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=rf"rows\.jsonl:1: column '{name}' is not one text: \['a'"):
        read_examples(str(tmp_path / "rows.jsonl"), "train")
