"""No held-out text stands in the training part, however it is dressed."""

import json
from itertools import chain
from pathlib import Path

import pytest

import plainformer.pretrain.corpus.text
from plainformer.base import UserError
from plainformer.corpora.split import text_key
from plainformer.pretrain.corpus.text import Corpus, Place
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
    assert len(set(map(text_key, valid))) > 5
    assert not set(map(text_key, valid)) & set(map(text_key, train))
    assert {text_key(t) for t in chain(train, valid)} == {text_key(t) for t in texts}
    assert len(train) + len(valid) == len(texts)


def test_the_split_does_not_depend_on_the_order_of_the_texts(files, tmp_path):
    folder, texts = files
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c.txt").write_text("\n".join(reversed(texts)))
    parts = [
        {text_key(t) for t in Corpus.of([str(f)], 0.3).texts("valid")}
        for f in (folder, tmp_path / "other" / "c.txt")
    ]
    assert parts[0] == parts[1]


@pytest.mark.parametrize("name", ["gcide", "trec", "stsb", "conll2003"])
def test_a_named_set_brings_its_own_parts(tmp_path, monkeypatch, name):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"a {split} text\n")
    monkeypatch.setattr(plainformer.pretrain.corpus.text, "fetch", lambda name: tmp_path)
    corpus = Corpus.of([name], 0.5)
    assert list(corpus.texts("train")) == ["a train text"]
    assert list(corpus.texts("valid")) == ["a valid text"]


def test_documents_go_on_behind_any_place(files):
    folder, texts = files
    corpus = Corpus.of([str(folder)], 0.3)
    documents = list(corpus.documents())
    assert [document.text for document in documents] == texts[::2] + texts[1::2]
    assert documents[-1].end == (1, len(texts[1::2]))
    for number in (0, 7, len(texts[::2]) - 1, len(texts[::2]), len(texts) - 1):
        assert list(corpus.documents(documents[number].end)) == documents[number + 1 :]


def test_what_is_held_out_by_a_set_comes_before_what_could_repeat_it(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "set" / f"{split}.txt").write_text(f"a {split} text\n")
    (tmp_path / "mine.txt").write_text("my text\n")
    monkeypatch.setattr(plainformer.pretrain.corpus.text, "fetch", lambda name: tmp_path / "set")
    corpus = Corpus.of(["gcide", str(tmp_path / "mine.txt"), str(tmp_path / "mine.txt")], 0.5)
    names = [(Path(source.file).name, source.split) for source in corpus.sources]
    assert names == [("valid.txt", "valid"), ("mine.txt", None), ("train.txt", "train")]


def test_a_file_comes_before_a_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trec").write_text("a text of the user's\n")
    assert list(Corpus.of(["trec"], 0.0).texts("train")) == ["a text of the user's"]


def test_what_is_neither_is_named():
    with pytest.raises(UserError, match="no such file: nowhere"):
        Corpus.of(["nowhere.txt"], 0.1)


def test_an_empty_file_does_not_end_a_run(tmp_path, capsys):
    for name, content in (("a", "one\n"), ("b", ""), ("c", " \n"), ("d", "two\nthree\n")):
        (tmp_path / f"{name}.txt").write_text(content)
    names = [str(tmp_path / f"{name}.txt") for name in "abcd"]
    corpus = Corpus.of(names, 0.0)
    assert list(corpus.texts("train")) == ["one", "two", "three"]
    assert capsys.readouterr().err.count("skipped") == 2
    assert [d.text for d in corpus.documents(Place(1, 0))] == ["two", "three"]
    with pytest.raises(UserError, match=r"b\.txt is empty"):
        Corpus.of(names[1:2], 0.0)
