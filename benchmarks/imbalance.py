"""What helps when one label is rare?

    python benchmarks/imbalance.py runs/models/splade [--seeds 5] [--rare 8]

Learns to tell spam from other messages (`sms-spam`, one in eight) from 200 examples as they come,
or with fewer of spam, with each way that fine-tuning offers for rare labels. Each seed draws other
examples; the weights, and the threshold, are chosen on the set's validation part. Prints F1,
precision and recall of spam, its AUC and the accuracy on the set's test part: means over the seeds
and standard deviations. `benchmarks/material.py` fetches the model.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import numpy as np
import torch

from plainformer.demo import write_examples
from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.training import LoopConfig

RARE = "spam"
EVAL_EVERY = 26
"""steps: two epochs of 200 examples"""
CHOICES: dict[str, ClassificationOptions] = {
    "nothing": ClassificationOptions(),
    "weights": ClassificationOptions(balance="weights"),
    "sampling": ClassificationOptions(balance="sampling"),
    "focal": ClassificationOptions(balance="focal"),
    "threshold": ClassificationOptions(tune_threshold=True),
    "weights, threshold": ClassificationOptions(balance="weights", tune_threshold=True),
}


def drawn(pool: list[ClassExample], count: int, rare: int, seed: int) -> list[ClassExample]:
    """So many examples, drawn by the seed: their labels as they come, or `rare` of the rare one."""
    order = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    if not rare:
        return order[:count]
    spam = [example for example in order if example.label == RARE][:rare]
    return spam + [example for example in order if example.label != RARE][: count - rare]


def scores(config: FinetuneConfig) -> dict[str, float]:
    """The test scores of one run."""
    finetune(config, quiet=True)
    metric = evaluate_folder(config.out, "sms-spam", quiet=True).metric.to_json()
    rare = metric["per_label"][RARE]
    names = ("f1", "precision", "recall", "auc")
    return {**{name: rare[name] for name in names}, "accuracy": metric["accuracy"]}


def main() -> None:
    """Run every choice with every seed, print a line for each choice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the pretrained model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--rare", type=int, default=0, help="of them spam; 0: as they come")
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    pool = list(read_examples(Classification, "sms-spam", "train"))
    print(f"torch {torch.__version__}, {options.examples} examples, {options.seeds} seeds")
    for number, (choice, change) in enumerate(CHOICES.items()):
        found = []
        for seed in range(options.seeds):
            with TemporaryDirectory() as name:
                train = Path(name) / "train.jsonl"
                write_examples(train, drawn(pool, options.examples, options.rare, seed))
                config = FinetuneConfig(
                    model=options.model,
                    train=str(train),
                    valid="sms-spam",
                    out=Path(name) / "run",
                    epochs=options.epochs,
                    batch_size=16,
                    max_length=64,
                    training=LoopConfig(
                        learning_rate=options.learning_rate,
                        seed=seed,
                        eval_every=EVAL_EVERY,
                        checkpoint_every=0,
                    ),
                )
                found.append(scores(replace(config, task=change)))
        if number == 0:
            print(f"{'':<20}" + "".join(f"{name:>18}" for name in found[0]))
        cells = (
            f"{mean(row[name] for row in found):.3f} ± {stdev(row[name] for row in found):.3f}"
            for name in found[0]
        )
        print(f"{choice:<20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
