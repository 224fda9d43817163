"""The data sets and the methods that `methods.py` compares, and the configuration of a run."""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import UserError, find_folder
from plainformer.corpora import fetch
from plainformer.finetune import (
    TASKS,
    AugmentOptions,
    FinetuneConfig,
    RobustOptions,
    TuningOptions,
    UnlabelledOptions,
    read_examples,
)
from plainformer.training import LoopConfig

STEPS, BATCH = 100, 16


@dataclass(frozen=True)
class Set:
    """A data set with its task, the number of its training examples, and the steps of a run."""

    name: str
    task: str
    examples: int = 500
    steps: int = STEPS
    methods: tuple[str, ...] = ()
    """The methods that are compared on it; empty: all."""


SETS = {
    "TREC, 100": Set("trec", "classification", 100),
    "TREC, 500": Set("trec", "classification"),
    "films": Set("movie-sentiment", "classification"),
    "STS-B": Set("stsb", "regression"),
    "CoNLL": Set("conll2003", "tagging"),
    "TREC, 100, 300 steps": Set("trec", "classification", 100, 300, ("plain", "LoRA, all layers")),
    "CoNLL, 300 steps": Set("conll2003", "tagging", 500, 300, ("plain", "LoRA, all layers")),
}
"""The data sets; again with more steps where LoRA learns more slowly than plain fine-tuning."""


@dataclass(frozen=True)
class Method:
    """A method: the fields of the configuration that it changes, and its candidate rates."""

    changes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the task."""
    training: dict[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    """Empty: the rate of plain fine-tuning."""
    longer: int = 1
    """Factor by which the method lengthens an epoch."""


def tuning(*rates: float, **options: Any) -> Method:
    """Return a method that freezes the encoder, but for what it trains."""
    return Method({"tuning": TuningOptions(**options)}, rates=rates)


def robust(**options: Any) -> Method:
    """Return a method around the loss or the weights."""
    return Method({"robust": RobustOptions(**options)})


def augmented(**options: Any) -> Method:
    """Return a method that trains on changed copies of the examples, too."""
    return Method({"augmentation": AugmentOptions(**options)}, longer=2)


METHODS = {
    "plain": Method(rates=(1e-4, 3e-4, 1e-3)),
    "LoRA": tuning(1e-3, 3e-3, 1e-2, lora=8),
    "LoRA, all layers": tuning(3e-4, 1e-3, 3e-3, lora=8, lora_targets=("all",)),
    "DoRA": tuning(1e-3, 3e-3, 1e-2, lora=8, dora=True),
    "IA³": tuning(3e-3, 1e-2, 3e-2, ia3=True),
    "adapters": tuning(3e-4, 1e-3, 3e-3, adapters=64),
    "adapters twice": tuning(3e-4, 1e-3, 3e-3, adapters=64, adapters_twice=True),
    "prefix": tuning(3e-3, 1e-2, 3e-2, prefix=20),
    "BitFit": tuning(1e-3, 3e-3, 1e-2, bitfit=True),
    "frozen lower half": Method({"freeze_layers": 3}, rates=(1e-4, 3e-4, 1e-3)),
    "head alone": Method({"freeze_layers": 6}, rates=(1e-3, 3e-3, 1e-2)),
    "soft prompt": tuning(1e-2, 3e-2, 1e-1, soft_prompt=20),
    "AdaLoRA": tuning(1e-3, 3e-3, 1e-2, adalora=8),
    "gradual unfreezing": tuning(unfreeze=0.05),
    "layer decay": Method({"layer_decay": 0.9}),
    "FGM": robust(fgm=1.0),
    "PGD": robust(pgd=1.0),
    "FreeLB": robust(freelb=1.0),
    "R-Drop": robust(rdrop=1.0),
    "SMART": robust(smart=1.0),
    "mixup": robust(mixup=0.2),
    "label smoothing": Method(options={"label_smoothing": 0.1}),
    "EMA": robust(ema=0.95),
    "SWA": robust(swa=0.25),
    "L2-SP": robust(l2_sp=0.01),
    "top layer anew": robust(reinit_layers=1),
    "words deleted": augmented(augment=1, augment_swap=0.0),
    "words swapped": augmented(augment=1, augment_delete=0.0),
    "self-training": Method(),
    "SetFit": Method(rates=(3e-5, 1e-4, 3e-4)),
    "SGD": Method(training={"optimizer": "sgd"}, rates=(3e-3, 1e-2, 3e-2)),
    "Muon": Method(training={"optimizer": "muon"}, rates=(1e-4, 3e-4, 1e-3)),
}


def configured(name: str, of: Set, rate: float, seed: int, out: Path) -> FinetuneConfig | None:
    """Return the configuration of one run; None where the method does not go with the task."""
    method = METHODS[name]
    kind = TASKS[of.task]
    try:
        task = kind.Options(**method.options)
        loop = LoopConfig(
            learning_rate=rate, eval_every=0, checkpoint_every=0, seed=seed, **method.training
        )
        plain = FinetuneConfig(
            model=find_folder("minilm"),
            train=of.name,
            out=out,
            max_length=128,
            batch_size=BATCH,
            epochs=of.steps * BATCH / of.examples / method.longer,
            task=task,
            training=loop,
        )
        if name == "SetFit":
            times = max(1, round(of.steps * BATCH / of.examples / 2))
            task = kind.Options(contrastive=times)
            return replace(plain, task=task, epochs=of.steps * BATCH / of.examples / times / 2)
        if name == "self-training":
            texts = write_unlabelled(of, seed, out.with_suffix(".jsonl"))
            once = UnlabelledOptions(unlabelled=str(texts), rounds=1)
            return replace(plain, unlabelled=once)
        return replace(plain, **method.changes)
    except (UserError, TypeError):
        return None


def write_unlabelled(of: Set, seed: int, path: Path) -> Path:
    """Write as many other training examples, whose labels will not be read."""
    some = rows_of(of.name)
    chosen = np.random.default_rng(seed).permutation(len(some))[of.examples : 2 * of.examples]
    path.write_text("".join(some[i] for i in chosen))
    return path


@cache
def rows_of(name: str) -> list[str]:
    """Read the lines of the training part of a set."""
    with (fetch(name) / "train.jsonl").open() as file:
        return list(file)


@cache
def examples_of(task: str, name: str, part: str) -> list[Any]:
    """Read the examples of a part of a set."""
    return list(read_examples(TASKS[task], name, part))


def drawn(of: Set, seed: int) -> list[Any]:
    """Draw the labelled examples of a seed."""
    pool = examples_of(of.task, of.name, "train")
    return [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[: of.examples]]
