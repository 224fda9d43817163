"""Objectives of several backward passes, and the hook before the optimizer's step.

    python -m torch.distributed.run … -m tests.training.test_several_losses FOLDER

is the same run on several processes.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import plainformer.training.run_log
from plainformer.encoder import EncoderConfig, MaskedLM, Sequences, ops
from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.training import Loss, Objective, TrainingConfig, TrainingObjective, train
from tests.processes import run_on_processes
from tests.training import toy

STEPS, MICRO_BATCHES = 4, 4
EPSILON = 0.5
HIDDEN = 16
CONFIG = TrainingConfig(
    steps=STEPS,
    learning_rate=1e-2,
    schedule="constant",
    warmup=0,
    weight_decay=0,
    clip_norm=0,
    eval_every=0,
    checkpoint_every=2,
    seed=7,
    device="cpu",
)


@dataclass(frozen=True)
class Batch:
    """Sequences, and the tokens to be found at some of their positions."""

    input_ids: Tensor
    sequences: Sequences
    positions: Tensor
    labels: Tensor

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device) -> Self:
        return self


def new_model() -> MaskedLM:
    """A tiny masked LM with dropout."""
    torch.manual_seed(0)
    return MaskedLM(
        EncoderConfig(
            vocab_size=30,
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        )
    )


def batches(step: int, rank: int = 0, processes: int = 1) -> list[Batch]:
    """The micro-batches of one process, of unequal lengths and counts."""
    found = []
    for number in range(rank, MICRO_BATCHES, processes):
        rng = np.random.default_rng([step, number])
        lengths = rng.integers(2, 10, 3).tolist()
        ids = torch.from_numpy(rng.integers(0, 30, sum(lengths)))
        positions = torch.arange(0, len(ids), 2 + number)
        hidden = ids.index_fill(0, positions, 1)
        found.append(Batch(hidden, Sequences.of(lengths), positions, ids[positions]))
    return found


def own_batches(step: int) -> list[Batch]:
    return batches(step, int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def masked_lm(model: MaskedLM, batch: Batch) -> Loss:
    logits = model(batch.input_ids, sequences=batch.sequences, target_positions=batch.positions)
    found = (logits.argmax(-1) == batch.labels).sum()
    return Loss(ops.cross_entropy(logits, batch.labels), len(batch.labels), {"accuracy": found})


def fgm(objective: Objective[Any, Any], epsilon: float) -> TrainingObjective[Any, Any]:
    def adversarial(model: MaskedLM, batch: Batch) -> Iterator[Loss]:
        delta = torch.zeros(batch.num_tokens, HIDDEN, requires_grad=True)
        with embedding_offset(model, delta):
            yield objective(model, batch)
            delta.data = epsilon * delta.grad / delta.grad.norm()
            yield objective(model, batch)._replace(items=0, metrics={})

    return adversarial


class Perturbed:
    """The forward function of embeddings, whose output is kept and changed by `perturbation`."""

    def __init__(self, embeddings: nn.Module) -> None:
        self.forward = embeddings.forward
        self.perturbation: Tensor | float = 0.0

    def __call__(self, *inputs: Any) -> Tensor:
        self.output = self.forward(*inputs)
        self.output.retain_grad()
        return self.output + self.perturbation


def written_out() -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """The same run in plain PyTorch: the means of each step, and the weights at the end."""
    model = new_model()
    embeddings = Perturbed(model.encoder.embeddings)
    model.encoder.embeddings.forward = embeddings
    optimizer = torch.optim.AdamW(
        model.parameters(), CONFIG.learning_rate, CONFIG.betas, CONFIG.eps, weight_decay=0
    )
    rows = []
    for step in range(STEPS):
        total = found = items = 0.0
        for number, batch in enumerate(batches(step)):
            seed = np.random.SeedSequence([CONFIG.seed, step, number]).generate_state(1, np.uint64)
            torch.manual_seed(int(seed[0]))
            for perturbed in (False, True):
                if perturbed:
                    gradient = embeddings.output.grad
                    embeddings.perturbation = EPSILON * gradient / gradient.norm()
                logits = model(
                    batch.input_ids, sequences=batch.sequences, target_positions=batch.positions
                )
                loss = nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
                loss.backward()
                total += loss.item()
                found += 0 if perturbed else float((logits.argmax(-1) == batch.labels).sum())
            embeddings.perturbation = 0.0
            items += len(batch.labels)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= items
        optimizer.step()
        optimizer.zero_grad()
        rows.append({"loss": total / items, "accuracy": found / items})
    return rows, model.state_dict()


def embeddings_twice(model: MaskedLM, batch: Batch) -> Iterator[Loss]:
    """A loss of all parameters, then one of the embeddings alone."""
    yield masked_lm(model, batch)
    yield Loss(model.encoder.embeddings.tokens.weight[batch.labels].square().sum(), 0)


class Importance:
    """Add up |weight · gradient| of a matrix before each step, in a buffer of the model."""

    def __init__(self, model: MaskedLM) -> None:
        self.steps: list[int] = []
        matrix = model.base.blocks[0].feed_forward.down.weight
        model.base.register_buffer("importance", torch.zeros_like(matrix))

    def __call__(self, model: MaskedLM, step: int) -> None:
        self.steps.append(step)
        matrix = model.base.blocks[0].feed_forward.down.weight
        model.base.importance += (matrix * matrix.grad).abs()


RUNS: dict[str, tuple[TrainingObjective[Any, Any], dict[str, Any]]] = {
    "fgm-ddp": (fgm(masked_lm, EPSILON), {}),
    "fgm-fsdp": (fgm(masked_lm, EPSILON), {"parallel": "fsdp"}),
    "fgm-bf16": (fgm(masked_lm, EPSILON), {"precision": "bf16"}),
    "unequal-ddp": (embeddings_twice, {}),
    "unequal-fsdp": (embeddings_twice, {"parallel": "fsdp"}),
    "clipped": (masked_lm, {"clip_norm": 0.1}),
}


def run(out: Path, name: str, resume: bool = False, **changes: Any) -> MaskedLM:
    """Train a fresh model as `RUNS` says, with importance in a buffer where nothing is sharded."""
    objective, settings = RUNS[name]
    model = new_model()
    hook = None if "fsdp" in name else Importance(model)
    config = replace(CONFIG, **settings)
    arguments = {"batches": own_batches, "before_step": hook, "resume": resume, "quiet": True}
    train(model, objective, config=config, out=out, **(arguments | changes))
    return model


@pytest.fixture(scope="module")
def runs(one_thread, tmp_path_factory) -> Path:
    """Every run on one process and on two."""
    folder = tmp_path_factory.mktemp("runs")
    for name in RUNS:
        run(folder / "one" / name, name)
    two = [str(folder / "two")]
    run_on_processes(2, "tests.training.test_several_losses", two, timeout=120)
    return folder


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors")


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
@pytest.mark.parametrize("processes", ["one", "two"])
def test_adversarial_training_is_that_written_out(runs, engine, processes):
    out = runs / processes / f"fgm-{engine}"
    rows, state = written_out()
    for row, expected in zip(log(out), rows, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert row["accuracy"] == pytest.approx(expected["accuracy"])
    for name, tensor in weights(out).items():
        if name != "encoder.importance":
            torch.testing.assert_close(tensor, state[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_as_one(runs, name):
    one, two = runs / "one" / name, runs / "two" / name
    for row, other in zip(log(one), log(two), strict=True):
        for key in ("loss", "accuracy", "grad_norm", "tokens"):
            assert other[key] == pytest.approx(row[key], rel=1e-2 if "bf16" in name else 1e-4), key
    if "bf16" not in name:
        others = weights(two)
        for key, tensor in weights(one).items():
            torch.testing.assert_close(others[key], tensor, rtol=1e-3, atol=1e-4, msg=key)


def test_a_resumed_run_is_bit_for_bit_an_unbroken_one(runs, tmp_path):

    def signalling(step: int) -> list[Batch]:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(step)

    with pytest.raises(SystemExit):
        run(tmp_path / "run", "fgm-ddp", batches=signalling)
    run(tmp_path / "run", "fgm-ddp", resume=True)
    assert weights(tmp_path / "run")["encoder.importance"].any()
    toy.assert_same_run(runs / "one" / "fgm-ddp", tmp_path / "run")


def test_before_the_step_gradients_are_means_and_not_clipped(tmp_path):
    norms = []

    def hook(model: MaskedLM, step: int) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients)))
        assert step == len(norms) - 1

    run(tmp_path, "clipped", before_step=hook)
    assert norms == pytest.approx([row["grad_norm"] for row in log(tmp_path)])
    assert min(norms) > RUNS["clipped"][1]["clip_norm"]


def test_what_the_hook_leaves_of_the_gradients_is_clipped(tmp_path):
    def hook(model: MaskedLM, step: int) -> None:
        for name, parameter in model.named_parameters():
            if name == "bias":
                assert parameter.grad is not None
                parameter.grad.fill_(3.0)
            else:
                parameter.grad = None

    model = run(tmp_path, "clipped", before_step=hook)
    expected = 3.0 * math.sqrt(model.bias.numel())
    assert [row["grad_norm"] for row in log(tmp_path)] == pytest.approx([expected] * STEPS)


def test_a_step_that_is_skipped_calls_no_hook(tmp_path):
    def spoilt(step: int) -> list[Batch]:
        return [replace(b, labels=b.labels + math.nan) if step == 1 else b for b in batches(step)]

    def objective(model: MaskedLM, batch: Batch) -> Loss:
        loss = masked_lm(model, replace(batch, labels=batch.labels.nan_to_num().long()))
        return loss._replace(total=loss.total + batch.labels.sum())

    config = replace(CONFIG, on_spike="skip")
    model = new_model()
    hook = Importance(model)
    after: list[int] = []

    def count(model: MaskedLM, steps: int) -> None:
        after.append(steps)

    hooks = {"before_step": hook, "after_step": count}
    train(model, objective, spoilt, config, tmp_path, quiet=True, **hooks)
    assert hook.steps == [0, 2, 3] and after == [1, 2, 3, 4]


if __name__ == "__main__":
    from plainformer.training import processes

    torch.set_num_threads(1)
    plainformer.training.run_log.draw_curve = lambda *_: None
    with processes():
        for name in RUNS:
            run(Path(sys.argv[1]) / name, name)
