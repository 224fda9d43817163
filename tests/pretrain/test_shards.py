"""Shards give back what was written, without reading it, and refuse what they did not write."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import pretrain.shards
from cellar import UserError
from pretrain import MaskedBatches, Masking, Pieces, read_shards, write_shards
from pretrain.data import ordinary_ids
from tests.pretrain import tiny
from tokenizer import WordPiece


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """What a full disk does, at `size` bytes of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def documents(folder: Path, tokenizer, split: str = "train") -> list[list[list[int]]]:
    """The words of every document, as the shards have them."""
    found = []
    for shard in read_shards(folder, tokenizer, split):
        for first, last in zip(shard.documents[:-1], shard.documents[1:], strict=True):
            ids, starts = shard.ids[first:last], np.flatnonzero(shard.words[first:last])
            assert starts[0] == 0
            found.append([word.tolist() for word in np.split(ids, starts[1:])])
    return found


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8))
def test_what_was_written_is_read(tokenizers, tmp_path_factory, texts):
    texts = [*texts, "the cat"]
    for tokenizer in tokenizers.values():
        folder = tmp_path_factory.mktemp("shards")
        total = write_shards(texts, tokenizer, folder, "train")
        wanted = [[list(word) for word in tokenizer.words(text)] for text in texts]
        wanted = [words for words in wanted if words]
        assert documents(folder, tokenizer) == wanted
        assert total == sum(len(word) for words in wanted for word in words)


def test_many_shards_are_as_one(tokenizer, tmp_path, monkeypatch):
    texts = tiny.sentences(80)
    write_shards(texts, tokenizer, tmp_path / "one", "train")
    monkeypatch.setattr(pretrain.shards, "SHARD_TOKENS", 100)
    write_shards(texts, tokenizer, tmp_path / "many", "train")
    assert len(list((tmp_path / "many").iterdir())) > 5
    batches = [
        MaskedBatches(
            Pieces(read_shards(tmp_path / name, tokenizer, "train"), tokenizer, 12),
            Masking(tokenizer.mask_id, ordinary_ids(tokenizer)),
            64,
        )
        for name in ("one", "many")
    ]
    for step in range(20):
        (a,), (b,) = (of(step) for of in batches)
        assert torch.equal(a.input_ids, b.input_ids) and torch.equal(a.labels, b.labels)


def test_a_large_vocabulary_fits(tmp_path):
    words = [f"w{i}" for i in range(66_000)]
    tokenizer = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    write_shards(["w65999 w0 w65600"], tokenizer, tmp_path, "train")
    assert documents(tmp_path, tokenizer) == [[[66_004], [5], [65_605]]]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux for its mappings")
def test_shards_are_mapped_not_read(wordpiece, tmp_path):
    write_shards(tiny.sentences(50), wordpiece, tmp_path, "train")
    (shard,) = read_shards(tmp_path, wordpiece, "train")
    for array in (shard.ids, shard.words, shard.documents):
        address = array.ctypes.data
        (line,) = [
            line
            for line in Path("/proc/self/maps").read_text().splitlines()
            if (ends := [int(end, 16) for end in line.split()[0].split("-")])
            and ends[0] <= address < ends[1]
        ]
        assert line.endswith(str(tmp_path / "train-00000.safetensors"))


def test_a_shard_that_was_cut_is_named(wordpiece, tmp_path):
    write_shards(tiny.sentences(5), wordpiece, tmp_path, "train")
    path = tmp_path / "train-00000.safetensors"
    whole = path.read_bytes()
    for size in (0, 4, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"train-00000\.safetensors is damaged"):
            read_shards(tmp_path, wordpiece, "train")


def test_a_foreign_file_is_named(wordpiece, tmp_path):
    path = tmp_path / "train-00000.safetensors"
    path.write_text("the cat eats the fish\n" * 9)
    with pytest.raises(UserError, match=r"train-00000"):
        read_shards(tmp_path, wordpiece, "train")
    save_file({"ids": torch.arange(4)}, path)
    with pytest.raises(UserError, match=r"train-00000\.safetensors is no token shard"):
        read_shards(tmp_path, wordpiece, "train")


def test_another_tokenizers_shard_is_named(tokenizers, tmp_path):
    write_shards(tiny.sentences(5), tokenizers["unigram"], tmp_path, "train")
    with pytest.raises(UserError, match=r"train-00000.* another tokenizer"):
        read_shards(tmp_path, tokenizers["bpe"], "train")


def test_arrays_that_do_not_fit_each_other_are_refused(wordpiece, tmp_path):
    metadata = {"format": pretrain.shards.FORMAT, "tokenizer": wordpiece.fingerprint()}
    tensors = {
        "ids": torch.zeros(4, dtype=torch.uint16),
        "documents": torch.tensor([0, 5]),
        "words": torch.ones(4, dtype=torch.uint8),
    }
    save_file(tensors, tmp_path / "train-00000.safetensors", metadata)
    with pytest.raises(UserError, match="contradicts itself"):
        read_shards(tmp_path, wordpiece, "train")


def test_a_full_disk_leaves_nothing_half_written(wordpiece, tmp_path):
    with no_file_beyond(4096), pytest.raises(UserError, match="cannot write the token shard"):
        write_shards(tiny.sentences(2000), wordpiece, tmp_path / "tokens", "train")
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_folder_that_cannot_be_is_the_users_error(wordpiece, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the token shard"):
        write_shards(tiny.sentences(2), wordpiece, tmp_path / "file" / "tokens", "train")


@pytest.mark.parametrize("texts", [[], ["", "\u200b"]], ids=["none", "blank"])
def test_no_tokens_at_all_is_the_users_error(wordpiece, tmp_path, texts):
    with pytest.raises(UserError, match="valid part of the text holds no tokens"):
        write_shards(texts, wordpiece, tmp_path, "valid")
    assert not list(chain(tmp_path.iterdir()))
