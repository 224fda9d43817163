"""A toy corpus of several files, and shards so small that it has many."""

import gzip
import json
from pathlib import Path

import pytest

import plainformer.pretrain.corpus.prepare
from plainformer.pretrain import Corpus
from tests.pretrain import tiny


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Portions and chunks small enough for a toy corpus to have many."""
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "SHARD_TOKENS", 400)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORK_UNIT", 700)
    monkeypatch.setattr(plainformer.pretrain.corpus.prepare, "WORKER_BYTES", 1)


@pytest.fixture
def texts() -> list[str]:
    """Sentences, some of them more than once, and some of which no token is left."""
    rows = [f"{text} the cat {i} ." for i, text in enumerate(tiny.sentences(300))]
    return [row for i, row in enumerate(rows) for row in [row] * (1 + (i % 10 == 0))] + [
        "\u200b"
    ] * 3


@pytest.fixture
def corpus(tmp_path, texts) -> Corpus:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(texts[:100]))
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress("\n".join(json.dumps({"text": text}) for text in texts[100:]).encode())
    )
    (folder / "c.txt").write_text("\n".join(texts[50:60]))
    return Corpus.of([str(folder)], valid_share=0.2)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
