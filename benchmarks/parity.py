"""Compare trained models with `transformers`: hidden states, pooler, logits and a task.

    python benchmarks/parity.py [--attention plain]

minilm and splade (`plainformer data list`) are fetched. Each is loaded on both sides (theirs with
eager attention, fp32), and compared stage by stage on 200 sentences of the STS-B test set, evenly
spread over lengths and shuffled, so that the padded batches of 16 contain short and long ones. The
tokenizers are compared on the same sentences, and on pairs of neighbours. For MiniLM, Spearman's
correlation of the cosine similarity of mean-pooled vectors with the human scores is printed, too,
from our tokenizer and encoder.

With `--attention plain`, both sides do the same arithmetic in the same order.
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
    """Choose sentences of all lengths, in random order."""
    unique = sorted(
        {row[name] for row in rows for name in ("text", "pair")}, key=lambda s: (len(s), s)
    )
    chosen = [unique[i * (len(unique) - 1) // (SENTENCES - 1)] for i in range(SENTENCES)]
    random.Random(0).shuffle(chosen)
    return chosen


def likeness(folder: Path, rows: list[dict[str, str]]) -> float:
    """Return Spearman's correlation with the human scores."""
    embedder = Embedder.load(folder, precision="fp32")
    first, second = (embedder([row[name] for row in rows]) for name in ("text", "pair"))
    cosines = np.einsum("ij,ij->i", first, second)
    return float(spearmanr(cosines, [row["score"] for row in rows]).statistic)


def main() -> None:
    """Compare every model, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--attention",
        choices=("fused", "plain"),
        default="fused",
        help="plain: the same formula as their eager form; all other operations stay fused",
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
    for model in ("minilm", "splade"):
        print(f"\n{model}, on {len(texts)} sentences of {min(map(len, texts))} to "
              f"{max(map(len, texts))} characters")  # fmt: skip
        show(compare_folder(fetch(model), texts))
    spearman = likeness(fetch("minilm"), rows)
    print(f"\nminilm, STS-B test, {len(rows):,} pairs: Spearman {spearman:.4f}")


if __name__ == "__main__":
    main()
