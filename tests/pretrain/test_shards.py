"""Shards give back what was written, without reading it, and refuse what they did not write."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.torch import save_file

from plainformer.base import UserError, checksum
from plainformer.pretrain.corpus import shards
from plainformer.pretrain.corpus.shards import (
    FORMAT,
    Entry,
    Shard,
    Tokens,
    read_hashes,
    read_shard,
    write_shard,
)
from plainformer.tokenizer import Tokenizer, WordPiece
from tests.disk import disk_with_room_for
from tests.pretrain import tiny


def write(folder: Path, texts: list[str], tokenizer: Tokenizer, parts: int = 1) -> Entry:
    """The shard of some texts, written in several parts."""
    size = -(-len(texts) // parts)
    tokens = [Tokens.of(texts[i : i + size], tokenizer) for i in range(0, len(texts), size)]
    path = folder / "train-00000.safetensors"
    return write_shard(path, tokens, tokenizer.fingerprint())


def documents(shard: Shard) -> list[list[list[int]]]:
    """The words of every document."""
    found = []
    for first, last in zip(shard.documents[:-1], shard.documents[1:], strict=True):
        ids, starts = shard.ids[first:last], np.flatnonzero(shard.words[first:last])
        assert not len(ids) or starts[0] == 0
        found.append([word.tolist() for word in np.split(ids, starts[1:]) if len(ids)])
    return found


texts_of_all_kinds = st.lists(
    st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8
)


@settings(max_examples=25)
@given(texts_of_all_kinds, st.integers(1, 3))
def test_what_was_written_is_read(tokenizers, tmp_path_factory, texts, parts):
    texts = [*texts, "the cat"]
    for tokenizer in tokenizers.values():
        folder = tmp_path_factory.mktemp("shards")
        entry = write(folder, texts, tokenizer, parts)
        shard = read_shard(folder, entry, tokenizer.fingerprint())
        assert documents(shard) == [[[*word] for word in tokenizer.words(text)] for text in texts]
        assert (entry.documents, entry.tokens) == (len(texts), len(shard.ids))
        path = folder / entry.file
        assert (entry.bytes, entry.sha256) == (path.stat().st_size, checksum(path))
        hashes = read_hashes(folder, entry, tokenizer.fingerprint())
        assert [a == b for a in texts for b in texts] == [a == b for a in hashes for b in hashes]


def test_a_shard_opens_elsewhere_and_is_the_same_in_how_many_parts_it_came(tokenizer, tmp_path):
    texts = tiny.sentences(80)
    entries = [write(tmp_path / str(parts), texts, tokenizer, parts) for parts in (1, 2, 7)]
    assert len({entry.sha256 for entry in entries}) == 1
    tensors = load_file(tmp_path / "7" / entries[0].file)
    shard = read_shard(tmp_path / "1", entries[0], tokenizer.fingerprint())
    for name in ("ids", "words", "documents"):
        assert np.array_equal(tensors[name], getattr(shard, name))


def test_a_long_document_is_tokenised_in_parts(tokenizer, monkeypatch):
    text = "the red fish steals corn. 我们 और " * 20
    whole = Tokens.of([text, "the fish"], tokenizer)
    monkeypatch.setattr(shards, "MAX_PART", 50)
    apart = Tokens.of([text, "the fish"], tokenizer)
    for name in ("ids", "words", "sizes", "hashes"):
        assert np.array_equal(getattr(whole, name), getattr(apart, name)), name


def test_some_documents_of_a_chunk(tokenizer):
    texts = [*tiny.sentences(5), "", "the cat"]
    chosen = np.array([True, False, True, False, False, True, True])
    some = Tokens.of([text for text, yes in zip(texts, chosen, strict=True) if yes], tokenizer)
    picked = Tokens.of(texts, tokenizer).only(chosen)
    for name in ("ids", "words", "sizes", "hashes"):
        assert np.array_equal(getattr(picked, name), getattr(some, name))
    assert some.sizes[-2] == 0


def test_a_large_vocabulary_fits(tmp_path):
    words = [f"w{i}" for i in range(66_000)]
    tokenizer = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    entry = write(tmp_path, ["w65999 w0 w65600"], tokenizer)
    shard = read_shard(tmp_path, entry, tokenizer.fingerprint())
    assert documents(shard) == [[[66_004], [5], [65_605]]]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux for its mappings")
def test_shards_are_mapped_not_read(wordpiece, tmp_path):
    entry = write(tmp_path, tiny.sentences(50), wordpiece)
    shard = read_shard(tmp_path, entry, wordpiece.fingerprint())
    for array in (shard.ids, shard.words, shard.documents):
        address = array.ctypes.data
        assert address % array.itemsize == 0
        (line,) = [
            line
            for line in Path("/proc/self/maps").read_text().splitlines()
            if (ends := [int(end, 16) for end in line.split()[0].split("-")])
            and ends[0] <= address < ends[1]
        ]
        assert line.endswith(str(tmp_path / "train-00000.safetensors"))


def test_a_shard_that_was_cut_or_lost_is_named(wordpiece, tmp_path):
    entry = write(tmp_path, tiny.sentences(5), wordpiece)
    path = tmp_path / entry.file
    whole = path.read_bytes()
    for content in (*(whole[:size] for size in (0, 4, 50, len(whole) - 1)), whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"train-00000\.safetensors is damaged or cut short"):
            read_shard(tmp_path, entry, wordpiece.fingerprint())
        claimed = replace(entry, bytes=len(content))
        with pytest.raises(UserError, match=r"train-00000\.safetensors is damaged or cut short"):
            read_shard(tmp_path, claimed, wordpiece.fingerprint())
    path.unlink()
    with pytest.raises(UserError, match=r"train-00000\.safetensors is missing"):
        read_shard(tmp_path, entry, wordpiece.fingerprint())


def test_a_foreign_file_is_named(wordpiece, tmp_path):
    entry = write(tmp_path, tiny.sentences(5), wordpiece)
    path = tmp_path / entry.file
    path.write_bytes(b"the cat eats the fish\n" * entry.bytes)
    with pytest.raises(UserError, match="train-00000"):
        read_shard(tmp_path, replace(entry, bytes=path.stat().st_size), wordpiece.fingerprint())
    save_file({"ids": torch.arange(4)}, path)
    with pytest.raises(UserError, match=r"train-00000\.safetensors is no token shard"):
        read_shard(tmp_path, replace(entry, bytes=path.stat().st_size), wordpiece.fingerprint())


def test_another_tokenizers_shard_is_named(tokenizers, tmp_path):
    entry = write(tmp_path, tiny.sentences(5), tokenizers["unigram"])
    with pytest.raises(UserError, match=r"train-00000.* another tokenizer"):
        read_shard(tmp_path, entry, tokenizers["bpe"].fingerprint())


def test_arrays_that_do_not_fit_each_other_are_refused(wordpiece, tmp_path):
    metadata = {"format": FORMAT, "tokenizer": wordpiece.fingerprint()}
    tensors = {
        "ids": torch.zeros(4, dtype=torch.uint16),
        "documents": torch.tensor([0, 5]),
        "words": torch.ones(4, dtype=torch.uint8),
    }
    path = tmp_path / "train-00000.safetensors"
    save_file(tensors, path, metadata)
    entry = Entry(path.name, 1, 4, path.stat().st_size, "")
    with pytest.raises(UserError, match="contradicts itself"):
        read_shard(tmp_path, entry, wordpiece.fingerprint())


def test_a_full_disk_leaves_nothing_half_written(wordpiece, tmp_path):
    with disk_with_room_for(4096), pytest.raises(UserError, match="cannot write the token shard"):
        write(tmp_path / "tokens", tiny.sentences(2000), wordpiece)
    assert not list(tmp_path.glob("tokens/*"))
