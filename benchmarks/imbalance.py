"""Compare ways of training with one rare label.

    python benchmarks/imbalance.py splade [--seeds 5] [--rare 8]

Trains a spam classifier (`sms-spam`, one in eight is spam) on 200 random examples, or on examples
with less spam, with each option of fine-tuning for rare labels. Each seed draws other examples; the
checkpoint and the threshold are chosen on the validation part. Prints mean and standard deviation
over the seeds of F1, precision, recall and AUC of spam, and of the accuracy, on the test part.
`splade` is fetched (`plainformer data list`).
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
"""Steps between evaluations: two epochs of 200 examples."""
CHOICES: dict[str, ClassificationOptions] = {
    "nothing": ClassificationOptions(),
    "weights": ClassificationOptions(balance="weights"),
    "sampling": ClassificationOptions(balance="sampling"),
    "focal": ClassificationOptions(balance="focal"),
    "threshold": ClassificationOptions(tune_threshold=True),
    "weights, threshold": ClassificationOptions(balance="weights", tune_threshold=True),
}


def drawn(pool: list[ClassExample], count: int, rare: int, seed: int) -> list[ClassExample]:
    """Draw `count` examples by the seed, at random or with `rare` ones of the rare label."""
    order = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    if not rare:
        return order[:count]
    spam = [example for example in order if example.label == RARE][:rare]
    return spam + [example for example in order if example.label != RARE][: count - rare]


def scores(config: FinetuneConfig) -> dict[str, float]:
    """Return the test scores of one run."""
    finetune(config, quiet=True)
    metric = evaluate_folder(config.out, "sms-spam", quiet=True).metric.to_json()
    rare = metric["per_label"][RARE]
    names = ("f1", "precision", "recall", "auc")
    return {**{name: rare[name] for name in names}, "accuracy": metric["accuracy"]}


def main() -> None:
    """Run every option with every seed, and print a line for each option."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the pretrained model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--rare", type=int, default=0, help="of them spam; 0: at random")
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
            f"{mean(row[name] for row in found):.3f} ± "
            f"{stdev(row[name] for row in found) if len(found) > 1 else 0.0:.3f}"
            for name in found[0]
        )
        print(f"{choice:<20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
