"""Prepare a corpus or pretrain on one, and print the peak of its anonymous memory in bytes.

python -m tests.programs.peak_of_pretraining prepare|train FOLDER NAME
"""

import sys
import threading
import time
from pathlib import Path

import torch

import plainformer.pretrain.corpus.prepare
from plainformer.pretrain import Corpus, PretrainConfig, prepare_corpus, pretrain
from plainformer.tokenizer import load_tokenizer
from plainformer.training import TrainingConfig
from tests.pretrain import tiny

peak = 0


def anonymous() -> int:
    """Bytes in memory that are in no file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


def watch() -> None:
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.005)


def prepare(folder: Path, name: str) -> None:
    plainformer.pretrain.corpus.prepare.SHARD_TOKENS = 100_000
    plainformer.pretrain.corpus.prepare.WORK_UNIT = 50_000
    corpus = Corpus.of([str(folder / f"{name}.txt.gz")], 0.1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    prepare_corpus(corpus, tokenizer, folder / f"{name}-out", workers=1)


def train(folder: Path, name: str) -> None:
    config = PretrainConfig(
        corpus=(str(folder / name),),
        tokenizer=folder / "tokenizer",
        out=folder / f"{name}-run",
        preset=tiny.PRESET,
        max_length=64,
        batch_tokens=512,
        valid_tokens=2000,
        training=TrainingConfig(steps=8, eval_every=0, checkpoint_every=0),
    )
    pretrain(config, quiet=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    threading.Thread(target=watch, daemon=True).start()
    work, folder, name = sys.argv[1:]
    {"prepare": prepare, "train": train}[work](Path(folder), name)
    print(max(peak, anonymous()))
