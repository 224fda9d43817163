"""What cannot be prepared or read is refused, and nothing that is there is lost."""

import json
import os

import pytest

import plainformer.pretrain.corpus.prepare
from plainformer.base import UserError
from plainformer.pretrain import Corpus, prepare_corpus, read_shards
from plainformer.pretrain.corpus.manifest import is_prepared
from tests.disk import disk_with_room_for
from tests.pretrain.corpus_shards.conftest import content


def test_a_corpus_of_something_else_is_refused_or_overwritten(
    corpus, wordpiece, tokenizers, tmp_path
):
    out = tmp_path / "out"

    def refused(match: str, corpus=corpus, tokenizer=wordpiece):
        before = content(out)
        with pytest.raises(UserError, match=match):
            prepare_corpus(corpus, tokenizer, out, workers=1, quiet=True)
        assert content(out) == before
        prepare_corpus(corpus, tokenizer, out, workers=1, overwrite=True, quiet=True)
        fresh = tmp_path / "fresh" / str(len(list((tmp_path / "fresh").iterdir())))
        prepare_corpus(corpus, tokenizer, fresh, workers=1, quiet=True)
        assert content(out) == content(fresh)

    (tmp_path / "fresh").mkdir()
    prepare_corpus(corpus, wordpiece, out, workers=1, quiet=True)
    refused("another tokenizer.*overwrite it", tokenizer=tokenizers["unigram"])
    refused("another tokenizer")
    refused("other settings.*0.2", Corpus(corpus.sources, 0.3))
    refused(r"other settings.*0\.3")
    refused(r"other text \(see .*a\.txt\)", Corpus(corpus.sources[1:], 0.2))
    prepare_corpus(corpus, wordpiece, out, workers=1, overwrite=True, quiet=True)
    path = corpus.sources[2].file
    before = path.stat()
    path.write_text("the cat eats . the dog hunts .")
    refused(r"other text \(see .*c\.txt\)")
    path.write_text("the dog hunts . the cat eats .")  # as long as before, and newer
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    refused(r"other text \(see .*c\.txt\)")


def test_a_folder_with_other_files_is_never_touched(corpus, wordpiece, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("ten years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"did not write \(thesis\.txt\)"):
            prepare_corpus(corpus, wordpiece, out, overwrite=overwrite, quiet=True)
    assert content(out) == {"thesis.txt": b"ten years of work"}
    assert not is_prepared(out)
    (out / "manifest.json").write_text('{"name": "of another program"}')
    (out / "unfinished").write_text("a symphony")
    assert not is_prepared(out)


def test_no_folder_is_left_of_a_text_that_cannot_be_read(wordpiece, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good\n\xff\xfe\n")
    bad = Corpus.of([str(tmp_path / "bad.txt")], 0.1)
    with pytest.raises(UserError, match=r"bad\.txt:2"):
        prepare_corpus(bad, wordpiece, tmp_path / "run" / "tokens", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    with pytest.raises(UserError, match=r"bad\.txt:2"):
        prepare_corpus(bad, wordpiece, tmp_path / "run" / "tokens", quiet=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def manifest(**changes: object) -> str:
    """A manifest of one shard, of which a field is changed."""
    shard = {"file": "train-00000.safetensors", "documents": 1, "tokens": 3, "bytes": 9}
    return json.dumps(
        {
            "format": "plainformer corpus 1",
            "tokenizer": "abc",
            "settings": {},
            "sources": [{"file": "a.txt"}],
            "documents": {"read": 1, "copies": 0, "empty": 0},
            "shards": [{**shard, "sha256": "0", **changes}],
        }
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"manifest\.json: not JSON"),
        ("[]", r"manifest\.json: not a JSON object, but a list"),
        ('{"format": "plainformer corpus 0", "shards": []}', "has another format than"),
        (manifest(tokens="3"), r"shards\[0\]: tokens must be a whole number, not the text '3'"),
        (manifest(tokens=-3), r"shards\[0\]: tokens must be a whole number from 0"),
        (manifest(tokens=10**30), "tokens must be a whole number of at most 19 digits"),
        (manifest(file="../train-00000.safetensors"), "file must be the name of a shard"),
        (manifest(file="/etc/passwd"), "file must be the name of a shard"),
        (manifest(sha256=None), r"shards\[0\]: sha256 must be a text, not null"),
        (manifest().replace('"read"', '"red"'), "documents: read is missing"),
        (manifest().replace('"a.txt"', "[]"), r"sources\[0\]: file must be a text, not a list"),
        (None, "holds no prepared corpus"),
    ],
)
def test_a_manifest_that_is_none(tmp_path, wordpiece, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_shards(tmp_path, wordpiece, "train")


def test_a_fault_in_the_text_is_told_and_leaves_no_corpus(corpus, wordpiece, tmp_path):
    file = corpus.sources[2].file
    file.write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(UserError, match=r"c\.txt:3: byte 0xe9"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    with pytest.raises(UserError, match="not finished"):
        read_shards(tmp_path / "out", wordpiece, "train")


def test_a_part_without_tokens(corpus, wordpiece, tmp_path):
    with pytest.raises(UserError, match=r"the valid part .*hold out a larger share"):
        prepare_corpus(
            Corpus(corpus.sources, 0.0), wordpiece, tmp_path / "out", workers=1, quiet=True
        )
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="the train part"):
        prepare_corpus(
            Corpus(corpus.sources, 1.0), wordpiece, tmp_path / "out", workers=1, quiet=True
        )


def test_a_full_disk(corpus, wordpiece, tmp_path, monkeypatch):
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 10**6)
    with disk_with_room_for(4096), pytest.raises(UserError, match="cannot write the token shard"):
        prepare_corpus(corpus, wordpiece, tmp_path / "out", workers=1, quiet=True)
    with disk_with_room_for(100), pytest.raises(UserError, match="no space left to write in"):
        prepare_corpus(corpus, wordpiece, tmp_path / "other", workers=1, quiet=True)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        prepare_corpus(corpus, wordpiece, tmp_path / "file" / "out", workers=1, quiet=True)
