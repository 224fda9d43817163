"""Real models here and in `transformers`: every hidden state, the pooler, the logits, a task.

    python benchmarks/material.py --out runs/models
    python benchmarks/parity.py --minilm runs/models/minilm --splade runs/models/splade

Each folder is loaded on both sides (theirs: eager attention, fp32), and compared stage by stage on
200 sentences of the STS-B test set, drawn evenly over their lengths and shuffled, so that the
padded batches of 16 hold short and long ones; the tokenizers on the same sentences, and on pairs of
neighbours. For MiniLM also: Spearman's correlation of the cosine of two sentences' mean-pooled
vectors with the score that people gave them, through our own tokenizer and encoder.

With `--attention plain` both sides do the same arithmetic in the same order.
"""

import argparse
import json
import platform
import random
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from plainformer.commands.compare import show
from plainformer.corpora import fetch
from plainformer.encoder import ops
from plainformer.encoder.ops import plain
from plainformer.explain import compare_folder
from plainformer.finetune import Embedder

SENTENCES = 200


def sentences(rows: list[dict[str, str]]) -> list[str]:
    """Sentences of every length, in mixed order."""
    unique = sorted(
        {row[name] for row in rows for name in ("text", "pair")}, key=lambda s: (len(s), s)
    )
    chosen = [unique[i * (len(unique) - 1) // (SENTENCES - 1)] for i in range(SENTENCES)]
    random.Random(0).shuffle(chosen)
    return chosen


def likeness(folder: Path, rows: list[dict[str, str]]) -> float:
    """Spearman's correlation with the scores of people."""
    embedder = Embedder.load(folder)
    first, second = (embedder([row[name] for row in rows]) for name in ("text", "pair"))
    cosines = np.einsum("ij,ij->i", first, second)
    return float(spearmanr(cosines, [row["score"] for row in rows]).statistic)


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--splade", type=Path, help="folder of SPLADE-tiny")
    parser.add_argument(
        "--attention",
        choices=("fused", "plain"),
        default="fused",
        help="plain: spelled out, as their eager form has it; all else on the fast kernels",
    )
    options = parser.parse_args()
    if options.attention == "plain":
        ops.attention = plain.attention
    names = ("plainformer", "torch", "transformers", "tokenizers")
    print(", ".join(f"{name} {version(name)}" for name in names), end="; ")
    print(f"{torch.get_num_threads()} threads, {platform.machine()}")
    with (fetch("stsb") / "test.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts = sentences(rows)
    for folder in filter(None, (options.minilm, options.splade)):
        print(f"\n{folder}, on {len(texts)} sentences of {min(map(len, texts))} to "
              f"{max(map(len, texts))} characters")  # fmt: skip
        show(compare_folder(folder, texts))
    if options.minilm:
        print(f"\nSTS-B test, {len(rows):,} pairs: Spearman {likeness(options.minilm, rows):.4f}")


if __name__ == "__main__":
    main()
