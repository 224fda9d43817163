"""`plainformer corpus`: prepared once, checked, trained on without being tokenized again."""

import json

import pytest

from tests.pretrain import tiny


@pytest.fixture
def prepared(call, corpus, tokenizer, tmp_path):
    out = tmp_path / "prepared"
    said = call("corpus", "--files", corpus, "--tokenizer", tokenizer, "--out", out,
                "--valid-share", 0.1)  # fmt: skip
    assert said.code == 0
    return out, said


def test_it_says_what_it_holds_and_is_trained_on(prepared, call, tokenizer, tmp_path):
    out, said = prepared
    manifest = json.loads((out / "manifest.json").read_text())
    copies = 300 - len(set(tiny.sentences(300)))
    assert manifest["documents"] == {"read": 300, "copies": copies, "empty": 0}
    assert f"of 300 documents ({copies} copies of others and 0 without tokens left out)" in said.out
    assert (
        f"{sum(shard['tokens'] for shard in manifest['shards'][1:]):,} tokens to train on"
        in said.out
    )
    said = call("pretrain", "--corpus", out, "--tokenizer", tokenizer, "--out", tmp_path / "run",
                "--preset", tiny.PRESET, "--max-length", 32, "--steps", 2)  # fmt: skip
    assert said.code == 0
    assert not (tmp_path / "run" / "tokens").exists()


def test_check(prepared, call, refused):
    out, _ = prepared
    assert "every byte is as it was written" in call("corpus", "check", out).out
    shard = out / "train-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\7")
    assert "train-00000.safetensors is damaged" in refused("corpus", "check", out)
    assert "corpus check FOLDER" in refused("corpus", "check")
    assert "holds no prepared corpus" in refused("corpus", "check", out.parent)


def test_another_corpus_is_overwritten_only_when_asked(prepared, call, refused, corpus, tokenizer):
    out, _ = prepared
    command = ["corpus", "--files", corpus, "--tokenizer", tokenizer, "--out", out]
    assert "other settings" in refused(*command) and "overwrite" in refused(*command)
    assert call(*command, "--valid-share", 0.2, "--overwrite").code == 0
    assert json.loads((out / "manifest.json").read_text())["settings"]["valid_share"] == 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--files": "nowhere.txt"}, "no such file"),
        ({"--tokenizer": "nowhere"}, "no folder nowhere"),
        ({"--valid-share": 1.5}, "valid_share must be between 0 and 1"),
        ({"--workers": -1}, "workers must be from 0 to 1,024"),
    ],
)
def test_what_cannot_work(refused, corpus, tokenizer, tmp_path, changes, message):
    options = {"--files": corpus, "--tokenizer": tokenizer, "--out": tmp_path / "out", **changes}
    assert message in refused("corpus", *(part for pair in options.items() for part in pair))
    assert not (tmp_path / "out").exists()
