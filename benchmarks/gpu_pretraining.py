"""Pretrain for some minutes, and follow the held-out loss: the section `pretraining` of `gpu.py`.

`--text` names the text, as `plainformer pretrain --corpus` does. By default it is what a machine
with torch has: the docstrings of Python's standard library and of torch, one to a line. The recipe
is that of `plainformer pretrain` with a budget of time, which also covers its planning.
"""

import json
import re
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plainformer.base import atomic_path, write_text
from plainformer.pretrain import Corpus, PretrainConfig, pretrain, read_shards
from plainformer.tokenizer import load_tokenizer, train_tokenizer

DOCSTRING = re.compile(r'"""(.{80,4000}?)"""', re.DOTALL)
VOCABULARY = 8192
FILES = {True: 60, False: 100_000}
"""The most files to read, in a trial or not."""


def docstrings(is_tiny: bool) -> Iterator[str]:
    """Yield the docstrings of the standard library and of torch, each as one line."""
    folders = [Path(sysconfig.get_path("stdlib")), Path(torch.__file__).parent]
    seen: set[str] = set()
    for folder in folders:
        files = [
            path
            for path in sorted(folder.rglob("*.py"))
            if "site-packages" not in path.relative_to(folder).parts
        ]
        for path in files[: FILES[is_tiny]]:
            for found in DOCSTRING.findall(path.read_text(encoding="utf-8", errors="ignore")):
                line = " ".join(found.split())
                if line not in seen:
                    seen.add(line)
                    yield line


def pretraining(
    device: torch.device, folder: Path, texts: Sequence[str], seconds: float, is_tiny: bool
) -> dict[str, Any]:
    """Prepare the text, pretrain for the rest of the time, and return the held-out losses."""
    begin = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    if not texts:
        write_text(folder / "text.txt", "\n".join(docstrings(is_tiny)) + "\n")
        texts = [str(folder / "text.txt")]
    if not (folder / "tokenizer").exists():
        lines = (document.text for document in Corpus.of(tuple(texts), 0.02).documents())
        size = 500 if is_tiny else VOCABULARY
        train_tokenizer(lines, kind="wordpiece", vocab_size=size).save(folder / "tokenizer")
    prepared = time.monotonic() - begin
    run = next(p for n in range(1000) if not (p := folder / f"run-{n}").exists())
    config = PretrainConfig(
        corpus=tuple(texts),
        out=run,
        tokenizer=folder / "tokenizer",
        preset="modern-tiny" if is_tiny else "modern-small",
        batch_tokens=256 if is_tiny else 2**14,
        valid_tokens=500 if is_tiny else 100_000,
        budget=f"{max(1, round(seconds - prepared))}s",
    )
    every = 10 if is_tiny else 200
    own = replace(config.training, device=str(device), eval_every=every, checkpoint_every=0)
    config = replace(config, training=own)
    result = pretrain(config, quiet=True)
    minutes, losses = curve(run)
    shards = read_shards(run / "tokens", load_tokenizer(run), "train")
    return {
        "text": texts[0] if len(texts) == 1 else list(texts),
        "model": config.preset,
        "corpus_tokens": sum(len(shard.ids) for shard in shards),
        "trained_tokens": result.tokens,
        "steps": result.steps,
        "training_seconds": result.seconds,
        "preparing_seconds": round(prepared, 1),
        "minutes": minutes,
        "losses": losses,
        "metrics": json.loads((run / "metrics.json").read_text())["held_out"],
    }


def curve(run: Path) -> tuple[list[float], list[float]]:
    """Return the minutes of training and the held-out loss of each evaluation of a run."""
    speeds = [json.loads(line) for line in (run / "speed.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = [(row["step"], row["evaluation"]["loss"]) for row in rows if "evaluation" in row]
    ends = np.cumsum([row["seconds"] for row in speeds]) / 60
    minutes = np.interp([step for step, _ in found], [row["step"] for row in speeds], ends)
    return minutes.round(4).tolist(), [loss for _, loss in found]


def draw(result: dict[str, Any], device: str, path: Path) -> None:
    """Plot the held-out loss over the minutes of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(result["minutes"], result["losses"], "o-", color="#2b6cb0", markersize=3)
    axes.set_xlabel(f"minutes of training on {device}")
    axes.set_ylabel("held-out loss (nats a token)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
