"""The same shards however many processes write them, and all of the text in them."""

from pathlib import Path

import pytest

import plainformer.pretrain.corpus.prepare
from plainformer.base import UserError
from plainformer.corpora import is_held_out
from plainformer.pretrain import check_corpus, prepare_corpus, read_shards
from plainformer.pretrain.corpus.manifest import read_manifest
from tests.pretrain.corpus_shards.conftest import content
from tests.pretrain.test_shards import documents


def test_every_document_once_in_its_part_and_in_order(corpus, texts, wordpiece, tmp_path):
    manifest = prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    wanted = [text for text in dict.fromkeys(texts) if wordpiece.words(text)]
    for split in ("train", "valid"):
        shards = read_shards(tmp_path / "out", wordpiece, split)
        assert len(shards) > 3
        found = [words for shard in shards for words in documents(shard)]
        part = [text for text in wanted if is_held_out(text, 0.2) == (split == "valid")]
        assert found == [[[*word] for word in wordpiece.words(text)] for text in part]
        assert manifest.tokens(split) == sum(len(shard.ids) for shard in shards)
    assert manifest.read == len(texts) + 10
    assert manifest.empty == 3
    assert manifest.copies == manifest.read - manifest.empty - len(wanted) == 30 + 10
    assert not (tmp_path / "out" / "unfinished").exists()
    assert read_manifest(tmp_path / "out") == manifest == check_corpus(tmp_path / "out")


def test_the_shards_do_not_depend_on_the_number_of_workers(corpus, tokenizers, tmp_path):
    tokenizer = tokenizers["unigram"]
    for workers in (1, 2):
        prepare_corpus(corpus, tokenizer, tmp_path / str(workers), workers=workers, quiet=True)
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_what_is_complete_is_left_alone(corpus, wordpiece, tmp_path, monkeypatch):
    first = prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "in_order", None)
    assert prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True) == first
    next((tmp_path / "out").glob("train-00002*")).write_bytes(b"short")
    with pytest.raises(UserError, match=r"train-00002\.safetensors is missing or damaged: over"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", quiet=True)
    monkeypatch.undo()
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 400)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORK_UNIT", 700)
    again = prepare_corpus(corpus, wordpiece, tmp_path / "out", overwrite=True, quiet=True)
    assert again == first == check_corpus(tmp_path / "out")


def test_every_byte_is_checked_when_it_is_asked_for(corpus, wordpiece, tmp_path):
    out = tmp_path / "out"
    prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    shard = out / "valid-00001.safetensors"
    damaged = bytearray(shard.read_bytes())
    damaged[-7] ^= 1
    shard.write_bytes(damaged)
    read_shards(out, wordpiece, "valid")
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is damaged"):
        check_corpus(out)
    shard.unlink()
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is missing"):
        check_corpus(out)
    with pytest.raises(UserError, match=r"valid-00001\.safetensors is missing"):
        read_shards(out, wordpiece, "valid")


def test_progress_is_told_where_there_is_no_terminal(
    corpus, wordpiece, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("plainformer.base.progress.SECONDS_BETWEEN_LINES", 0.0)
    prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1)
    last = capsys.readouterr().err.splitlines()[-1]
    size = sum(Path(source.file).stat().st_size for source in corpus.sources) / 1e6
    assert last.startswith(f"tokenizing {size:.1f} of {size:.1f} MB ")
    assert last.endswith("0:00:00 left")
