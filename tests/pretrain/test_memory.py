"""Ten times as much text as there is memory for: written as shards, and trained on."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plainformer.pretrain import Corpus
from plainformer.pretrain.corpus.manifest import Journal, Portion, provenance_of
from plainformer.pretrain.corpus.shards import Tokens, write_shard
from plainformer.pretrain.corpus.text import Place
from plainformer.tokenizer import Tokenizer
from tests.pretrain import tiny

ROOT = Path(__file__).parents[2]
CAP = 8 << 20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="asks Linux for its memory"
)


def peak(work: str, folder: Path, name: str) -> int:
    """The most memory that a process of its own takes for `work`.

    What is free goes back to the system at once: else megabytes that malloc keeps come and go.
    """
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.peak_of_pretraining", work, str(folder), name],
        cwd=ROOT,
        env={**os.environ, **at_once, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def write_corpus(folder: Path, tokenizer: Tokenizer, shards: int, tokens: int = 1 << 20) -> int:
    """A prepared corpus of random tokens; return its bytes."""
    text = folder.parent / "text.txt"
    text.write_text("the cat\n")
    journal = Journal(folder, provenance_of(Corpus.of([str(text)], 0.1), tokenizer, tokens))
    journal.begin(overwrite=False)
    rng = np.random.default_rng(0)
    for number in range(shards):
        entries = []
        for split, size in (("train", tokens), ("valid", 4000)):
            cuts = np.sort(rng.choice(size - 1, size // 100, replace=False) + 1)
            part = Tokens(
                ids=rng.integers(5, tokenizer.vocab_size, size).astype(np.uint16),
                words=rng.integers(0, 2, size).astype(np.uint8),
                sizes=np.diff([0, *cuts, size]),
                hashes=rng.integers(0, 2**62, len(cuts) + 1),
            )
            path = folder / f"{split}-{number:05}.safetensors"
            entries.append(write_shard(path, [part], tokenizer.fingerprint()))
        journal.add(Portion(Place(0, number), 1, 0, 0, tuple(entries)))
    return sum(entry.bytes for entry in journal.finish().shards)


def test_pretraining_on_ten_times_the_memory(tmp_path, wordpiece):
    wordpiece.save(tmp_path / "tokenizer")
    write_corpus(tmp_path / "small", wordpiece, 1, 1 << 16)
    assert write_corpus(tmp_path / "large", wordpiece, 28) > 10 * CAP
    assert peak("train", tmp_path, "large") - peak("train", tmp_path, "small") < CAP


def test_writing_shards_of_ten_times_the_memory(tmp_path, wordpiece):
    wordpiece.save(tmp_path / "tokenizer")
    sentences = tiny.sentences(2000)
    rng = np.random.default_rng(0)
    for name, documents in (("small", 100), ("large", 10_000)):
        with gzip.open(tmp_path / f"{name}.txt.gz", "wt", compresslevel=1) as file:
            for _ in range(documents):
                file.write(" ".join(sentences[i] for i in rng.integers(0, 2000, 60)) + "\n")
    more = peak("prepare", tmp_path, "large") - peak("prepare", tmp_path, "small")
    shards = sum(path.stat().st_size for path in (tmp_path / "large-out").iterdir())
    assert shards > 20e6
    assert more < shards / 10
