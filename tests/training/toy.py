"""A real model on made-up sequences of unequal length, small enough to be trained in a blink."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from plainformer.training import Loss, Result, TrainingConfig, by_tokens, evaluate, train

rng = np.random.default_rng(0)
SEQUENCES = [torch.from_numpy(rng.integers(0, 20, rng.integers(1, 12))) for _ in range(40)]
LENGTHS = np.array([len(sequence) for sequence in SEQUENCES])
ORDER = by_tokens([np.arange(40)], LENGTHS.__getitem__, 24, seed=3, micro_batches=2)
HELD_OUT = [torch.from_numpy(rng.integers(0, 20, 50)) for _ in range(3)]

CONFIG = TrainingConfig(
    steps=40, learning_rate=1e-2, eval_every=8, checkpoint_every=5, seed=1, device="cpu"
)


@dataclass(frozen=True)
class Tokens:
    """Packed tokens; each third one is labelled with whether it is even."""

    input_ids: Tensor

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device) -> Self:
        return type(self)(self.input_ids.to(device))


class Model(nn.Module):
    """Embedding, norm, dropout, and a classifier of two."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(20, 64)
        self.norm = nn.LayerNorm(64)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(64, 64)
        self.classify = nn.Linear(64, 2)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(self.dropout(self.norm(self.embed(ids)))))
        logits: Tensor = self.classify(hidden)
        return logits


def objective(model: nn.Module, batch: Tokens) -> Loss:
    counted = batch.input_ids[batch.input_ids % 3 == 0]
    logits, labels = model(counted), counted % 2
    total = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return Loss(total, len(counted), {"accuracy": (logits.argmax(-1) == labels).sum()})


def batches(step: int) -> list[Tokens]:
    return [Tokens(torch.cat([SEQUENCES[i] for i in items])) for items in ORDER(step)]


def score(model: nn.Module) -> dict[str, float]:
    return evaluate(model, objective, [Tokens(ids) for ids in HELD_OUT])


def run(out: Path, config: TrainingConfig = CONFIG, **changes: Any) -> tuple[nn.Module, Result]:
    """Train a fresh model in `out`; `changes` replace arguments of `train`."""
    model = changes.pop("model", None) or Model()
    arguments: dict[str, Any] = {
        "objective": objective,
        "batches": batches,
        "evaluate": score,
        "quiet": True,
    }
    return model, train(model=model, config=config, out=out, **(arguments | changes))


def assert_same_run(one: Path, other: Path) -> None:
    """Same log and same last weights and optimizer, byte for byte."""
    assert (one / "log.jsonl").read_bytes() == (other / "log.jsonl").read_bytes()
    last = sorted((one / "checkpoints").glob("step-*"))[-1]
    for name in ("model.safetensors", "optimizer.safetensors"):
        theirs = other / "checkpoints" / last.name / name
        assert (last / name).read_bytes() == theirs.read_bytes(), name


def stopping(number: int, step: int) -> Callable[[int], list[Tokens]]:
    """The batches, of which that step's come with a signal."""

    def signalling(at: int) -> list[Tokens]:
        if at == step:
            os.kill(os.getpid(), number)
        return batches(at)

    return signalling


def saved(out: Path) -> list[Path]:
    """The checkpoints of a run."""
    return list((out / "checkpoints").iterdir())
