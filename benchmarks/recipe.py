"""Compare learning rates, and smaller ones for lower layers.

    python benchmarks/recipe.py --model FOLDER [--sets trec stsb] [--rates 1e-4 3e-4 1e-3]
                                [--decays 1 0.95 0.9] [--examples 300] [--epochs 3] [--seeds 3]
                                [--pooling pooler mean]

FOLDER is `minilm` of `plainformer data list`, or another model. Trains on the first examples of a
set, and tests the last weights, without model selection, on as many test examples. Prints
accuracy (or Spearman's ρ, F1) in percent as mean and standard deviation over the seeds, with a row
for each learning rate and a column for each decay. `--pooling mean` replaces BERT's pooler by the
mean of all tokens, which a BERT folder cannot store, to measure the difference.
"""

import argparse
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch

from plainformer.encoder import pool
from plainformer.encoder.heads.headed_model import compute_all_tokens
from plainformer.encoder.model import EncoderOutput
from plainformer.finetune import TASKS, FinetuneConfig, read_examples
from plainformer.finetune.fit import fit
from plainformer.finetune.prediction.predictor import encode_all, measure
from plainformer.finetune.run import build
from plainformer.tokenizer import load_tokenizer
from plainformer.training import LoopConfig

TASK_OF = {"stsb": "regression", "conll2003": "tagging", "msra-ner": "tagging"}


def pool_mean(_: Any, __: Any, options: dict[str, Any], output: EncoderOutput) -> EncoderOutput:
    """Put a mean over tokens in place of the output of BERT's pooler."""
    mean_of_tokens = pool(output.last_hidden_state, options["sequences"], "mean")
    return replace(output, pooler_output=mean_of_tokens)


def score(config: FinetuneConfig, name: str, examples: int, pooling: str) -> float:
    """Return the main score of the task after one run."""
    kind = config.kind
    train, test = (
        list(islice(read_examples(kind, name, part), examples)) for part in ("train", "test")
    )
    task, tokenizer = kind.fit(config, train), load_tokenizer(config.model)
    model = build(task, config)
    if pooling == "mean":
        compute_all_tokens(model.encoder)
        model.encoder.register_forward_hook(pool_mean, with_kwargs=True)
    items = [item for _, item in encode_all(task, tokenizer, train)]
    fit(task, model, items, [], config, new={}, quiet=True)
    return next(iter(measure(task, model, encode_all(task, tokenizer, test)).scores().values()))


def main() -> None:
    """Run every combination, and print a table for each set and pooling."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the pretrained model")
    parser.add_argument("--sets", nargs="*", default=["trec", "stsb"])
    parser.add_argument("--rates", nargs="*", type=float, default=[1e-4, 3e-4, 1e-3])
    parser.add_argument("--decays", nargs="*", type=float, default=[1.0, 0.95, 0.9])
    parser.add_argument("--pooling", nargs="*", choices=["pooler", "mean"], default=["pooler"])
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.seeds} seeds, {options.examples} examples")
    for name in options.sets:
        kind = TASK_OF.get(name, "classification")
        for pooling in options.pooling:
            print(f"\n{name}, {pooling}")
            print("rate      " + "".join(f"{f'decay {decay:g}':>18}" for decay in options.decays))
            for rate in options.rates:
                print(f"{rate:<10g}", end="", flush=True)
                for decay in options.decays:
                    scores = []
                    for seed in range(options.seeds):
                        with TemporaryDirectory() as out:
                            config = FinetuneConfig(
                                model=options.model,
                                train=name,
                                valid=name,
                                out=Path(out) / "run",
                                task=TASKS[kind].Options(),
                                epochs=options.epochs,
                                batch_size=options.batch_size,
                                max_length=128,
                                layer_decay=decay,
                                training=LoopConfig(learning_rate=rate, seed=seed),
                            )
                            scores.append(score(config, name, options.examples, pooling))
                    spread = f" ± {100 * stdev(scores):.1f}" if len(scores) > 1 else ""
                    print(f"{f'{100 * mean(scores):.1f}{spread}':>18}", end="", flush=True)
                print()


if __name__ == "__main__":
    main()
