"""Compare model and batch sizes at an equal budget of FLOPs.

    plainformer tokenizer train --files gcide --vocab-size 8192 --out runs/budget/tokenizer
    python benchmarks/budget.py runs/budget --flops 1.5e12 --sizes 2x64 3x96 4x128 6x256

Each run pretrains a modern encoder (layers × hidden size, feed-forward as in the presets) on the
dictionary GCIDE with the same number of floating-point operations, and prints its held-out loss.
The loss does not depend on the speed of the machine, so this may run beside other work.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from plainformer.encoder.config import PRESETS
from plainformer.pretrain import Corpus, PretrainConfig, prepare_corpus, pretrain
from plainformer.pretrain.corpus import read_shards
from plainformer.pretrain.data import Chunks, MaskedBatches
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import choose_objective
from plainformer.pretrain.start import build_model
from plainformer.tokenizer import load_tokenizer
from plainformer.training import TrainingConfig


def main() -> None:
    """Pretrain at each point of the grid, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flops", type=float, nargs="+", default=[1.5e12])
    parser.add_argument("--sizes", nargs="+", default=["2x64", "3x96", "4x128", "6x256"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1024])
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-3])
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.folder / "tokenizer")
    tokens = options.folder / "tokens"
    if not tokens.exists():
        prepare_corpus(Corpus.of(("gcide",), 0.01), tokenizer, tokens)
    shards = read_shards(tokens, tokenizer, "train")
    print(
        "| FLOPs | size | batch | rate | weights of the layers | tokens | for each weight | loss "
        "| time |"
    )
    for size in options.sizes:
        layers, hidden = map(int, size.split("x"))
        PRESETS[size] = replace(
            PRESETS["modern-tiny"],
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=max(1, hidden // 64),
            intermediate_size=3 * hidden // 2 if hidden > 128 else 2 * hidden,
        )
        for flops in options.flops:
            for batch in options.batches:
                for rate in options.rates:
                    config = PretrainConfig(
                        corpus=(str(tokens),),
                        tokenizer=options.folder / "tokenizer",
                        out=options.folder / f"{size}-{flops:g}-{batch}-{rate:g}",
                        preset=size,
                        batch_tokens=batch,
                        training=TrainingConfig(
                            learning_rate=rate,
                            schedule="wsd",
                            warmup=0.05,
                            decay=0.4,
                            eval_every=0,
                            checkpoint_every=0,
                        ),
                    )
                    objective = choose_objective(config.objective)
                    model = build_model(config, objective, tokenizer)
                    text = Chunks(shards, tokenizer, config.max_length)
                    masking = Masking.of(tokenizer, ratio=config.masked_share)
                    batches = MaskedBatches(text, objective.corrupt(masking), batch)
                    cost = partial(objective.flops, model, objective.loss(config, tokenizer))
                    sample = [part for step in range(32) for part in batches(step)]
                    steps = round(32 * flops / sum(map(cost, sample)))
                    training = replace(config.training, steps=steps)
                    result = pretrain(replace(config, training=training), quiet=True)
                    weights = sum(p.numel() for p in model.encoder.blocks.parameters())
                    print(
                        f"| {flops:g} | {size} | {batch} | {rate:g} | {weights:,} "
                        f"| {result.tokens:,} | {result.tokens / weights:.1f} "
                        f"| {result.last['loss']:.3f} | {result.seconds:.0f} s |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
