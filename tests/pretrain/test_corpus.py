"""No held-out text stands in the training part, however it is dressed."""

import json
from itertools import chain

import pytest

from cellar import UserError
from corpora.split import key
from pretrain.corpus import Corpus
from tests.pretrain import tiny

DRESSES = (str, str.upper, lambda s: s.replace(" ", "  "), lambda s: s.rstrip(" .") + "!")


@pytest.fixture
def files(tmp_path):
    """Every sentence in several dresses, over files of two kinds."""
    texts = [dress(text) for dress in DRESSES for text in tiny.sentences(90)]
    (tmp_path / "a.txt").write_text("\n".join(texts[::2]))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts[1::2]))
    return tmp_path, texts


def test_held_out_texts_never_repeat_in_training(files):
    folder, texts = files
    corpus = Corpus.of([str(folder)], valid_share=0.3)
    train, valid = list(corpus.texts("train")), list(corpus.texts("valid"))
    assert len(set(map(key, valid))) > 5
    assert not set(map(key, valid)) & set(map(key, train))
    assert {key(t) for t in chain(train, valid)} == {key(t) for t in texts}
    assert len(train) + len(valid) == len(texts)


def test_the_split_does_not_depend_on_the_order_of_the_texts(files, tmp_path):
    folder, texts = files
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c.txt").write_text("\n".join(reversed(texts)))
    parts = [
        {key(t) for t in Corpus.of([str(f)], 0.3).texts("valid")}
        for f in (folder, tmp_path / "other" / "c.txt")
    ]
    assert parts[0] == parts[1]


def test_a_named_set_brings_its_own_parts(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"a {split} text\n")
    corpus = Corpus([], [tmp_path], 0.5)
    assert list(corpus.texts("train")) == ["a train text"]
    assert list(corpus.texts("valid")) == ["a valid text"]
    assert corpus.size("train") == 13


@pytest.mark.parametrize("name", ["trec", "conll2003", "stsb"])
def test_a_labelled_set_is_no_corpus(name):
    with pytest.raises(UserError, match=f"{name} is a labelled set.*gcide"):
        Corpus.of([name], 0.1)


def test_a_file_comes_before_a_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trec").write_text("a text of the user's\n")
    assert list(Corpus.of(["trec"], 0.0).texts("train")) == ["a text of the user's"]


def test_what_is_neither_is_named():
    with pytest.raises(UserError, match="no such file: nowhere"):
        Corpus.of(["nowhere.txt"], 0.1)
