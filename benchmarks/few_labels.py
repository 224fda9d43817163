"""Compare ways of fine-tuning on few labels.

    python benchmarks/few_labels.py runs/demo/pretrained [--seeds 3]

Learns parts of speech from 25 definitions of each (`gcide-pos`), as the demo does, and changes one
setting at a time: pooling, dropout, epochs, learning rate. Prints mean and standard deviation of
the test accuracy over the seeds.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch

from plainformer.demo import PER_LABEL, VALID_PER_LABEL, write_examples
from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    evaluate_folder,
    few_of_each,
    finetune,
    read_examples,
)
from plainformer.finetune.tasks.classification import Classification
from plainformer.training import LoopConfig

CHOICES: dict[str, dict[str, Any]] = {
    "as the demo": {},
    "mean pooling": {"task": ClassificationOptions(pooling="mean")},
    "no dropout": {"dropout": 0.0},
    "40 epochs": {"epochs": 40.0},
    "learning rate 0.0003": {"learning_rate": 3e-4},
    "learning rate 0.003": {"learning_rate": 3e-3},
    "random weights": {"from_scratch": True},
    "random, mean pooling": {"from_scratch": True, "task": ClassificationOptions(pooling="mean")},
    "random, 40 epochs": {"from_scratch": True, "epochs": 40.0},
    "random, 0.0003": {"from_scratch": True, "learning_rate": 3e-4},
}


def accuracies(model: Path, change: dict[str, Any], seeds: int, test: Path) -> list[float]:
    """Return the test accuracy of each seed with one setting changed."""
    rate = change.pop("learning_rate", 1e-3)
    pool = list(read_examples(Classification, "gcide-pos", "train"))
    valid = list(read_examples(Classification, "gcide-pos", "valid"))
    found = []
    for seed in range(seeds):
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_examples(folder / "train.jsonl", few_of_each(pool, PER_LABEL, seed))
            few = few_of_each(valid, VALID_PER_LABEL, seed=0)
            write_examples(folder / "valid.jsonl", few)
            config = FinetuneConfig(
                model=model,
                train=str(folder / "train.jsonl"),
                valid=str(folder / "valid.jsonl"),
                out=folder / "run",
                epochs=20.0,
                batch_size=16,
                training=LoopConfig(learning_rate=rate, seed=seed, checkpoint_every=0),
            )
            finetune(replace(config, **change), quiet=True)
            metric = evaluate_folder(folder / "run", str(test)).metric
            found.append(metric.scores()["accuracy"])
    return found


def main() -> None:
    """Run with every setting, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the pretrained model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--choices", nargs="*", default=list(CHOICES))
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.seeds} seeds, 1,000 test definitions")
    with TemporaryDirectory() as name:
        test = Path(name) / "test.jsonl"
        held_out = read_examples(Classification, "gcide-pos", "test")
        write_examples(test, few_of_each(held_out, 250, seed=0))
        for choice in options.choices:
            scores = accuracies(options.model, dict(CHOICES[choice]), options.seeds, test)
            spread = stdev(scores) if len(scores) > 1 else 0.0
            print(
                f"{choice:<24} {mean(scores):6.1%} ± {spread:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
