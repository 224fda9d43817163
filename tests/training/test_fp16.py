"""fp16: the loss is scaled, overflowing steps are left out, by all processes, and on resuming.

    python -m torch.distributed.run … -m tests.training.test_fp16 FOLDER

is the run of `overflowing` on several processes.
"""

import json
import math
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import plainformer.training.loss_scale
from plainformer.base import UserError
from plainformer.training import Loss, processes
from plainformer.training.loss_scale import LossScale
from tests.processes import run_on_processes
from tests.training import toy

FP16 = replace(toy.CONFIG, precision="fp16", steps=20)


@dataclass(frozen=True)
class Tokens(toy.Tokens):
    """Tokens whose loss is multiplied by a factor."""

    factor: float = 1.0

    def to(self, device: torch.device) -> "Tokens":
        return replace(self, input_ids=self.input_ids.to(device))


def objective(model: nn.Module, batch: Tokens) -> Loss:
    loss = toy.objective(model, batch)
    return loss._replace(total=loss.total * batch.factor)


def overflowing(at: dict[int, float]) -> dict[str, Any]:
    """Arguments of a run: the loss of the second micro-batch of some steps is multiplied."""
    first, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    def batches(step: int) -> list[Tokens]:
        one, other = (Tokens(batch.input_ids) for batch in toy.batches(step))
        return [one, replace(other, factor=at.get(step, 1.0))][first::size]

    return {"batches": batches, "objective": objective}


TWICE = {2: 1e6, 7: math.inf}


def rows(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").open()]
    return [row for row in lines if "evaluation" not in row]


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(max((out / "checkpoints").glob("step-*")) / "model.safetensors")


@pytest.fixture(scope="module")
def whole(one_thread, tmp_path_factory) -> Path:
    """A run with two steps that overflow."""
    out = tmp_path_factory.mktemp("fp16") / "run"
    toy.run(out, FP16, **overflowing(TWICE))
    return out


def test_the_scale_is_that_of_torch():
    rng = np.random.default_rng(0)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter])
    theirs, ours = torch.amp.GradScaler("cpu", init_scale=64.0), LossScale()
    finite = [True] * 2001 + (rng.random(200) > 0.03).tolist()
    skipped = []
    for is_finite in finite:
        theirs.scale(torch.zeros(()))
        parameter.grad = torch.full((1,), 1.0 if is_finite else math.nan)
        theirs.step(optimizer)
        theirs.update()
        skipped.append(ours.overflows_at(is_finite))
        assert ours.scale == theirs.get_scale()
    assert skipped == [not is_finite for is_finite in finite]
    assert ours.overflows == sum(skipped) > 2


def test_a_run_is_that_of_torchs_scaler(whole):
    """Written out in plain PyTorch, with the scaler of torch: the same steps, the same weights."""
    model = toy.Model()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": FP16.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=FP16.betas, eps=FP16.eps)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    for row in rows(whole):
        step = row["step"] - 1
        count = 0
        for number, batch in enumerate(overflowing(TWICE)["batches"](step)):
            seed = np.random.SeedSequence([FP16.seed, step, number]).generate_state(1, np.uint64)
            torch.manual_seed(int(seed[0]))
            with torch.autocast("cpu", torch.float16):
                loss = objective(model, batch)
            scaler.scale(loss.total).backward()
            count += loss.items
        scaler.unscale_(optimizer)
        for parameter in model.parameters():
            parameter.grad /= count
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), FP16.clip_norm))
        for group in optimizer.param_groups:
            group["lr"] = row["learning_rate"]
        assert scaler.get_scale() == row["loss_scale"]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert row.get("skipped", False) == (not math.isfinite(norm)) == (step in TWICE)
        assert row["grad_norm"] == (pytest.approx(norm, rel=1e-5) if math.isfinite(norm) else None)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weight, model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_killed_and_resumed(tmp_path, whole):
    """The scale is in the checkpoint: else the steps after 10 would have that of the start."""
    calls = 0

    def failing(model: nn.Module, batch: Tokens) -> Loss:
        nonlocal calls
        calls += 1
        if calls > 2 * 12:
            raise RuntimeError("power cut")
        return objective(model, batch)

    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="power cut"):
        toy.run(out, FP16, **(overflowing(TWICE) | {"objective": failing}))
    toy.run(out, FP16, **overflowing(TWICE), resume=True)
    toy.assert_same_run(whole, out)
    assert rows(out)[-1]["loss_scale"] == 64 / 4


def test_processes_leave_out_a_step_together(tmp_path, whole):
    """The gradient of one of them alone overflows."""
    run_on_processes(2, "tests.training.test_fp16", [str(tmp_path / "run")], timeout=60)
    for one, other in zip(rows(whole), rows(tmp_path / "run"), strict=True):
        assert one["loss_scale"] == other["loss_scale"]
        assert one.get("skipped") == other.get("skipped")
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weight, weights(tmp_path / "run")[name])


def test_small_gradients_survive(tmp_path):
    """A loss whose gradients fp16 rounds to 0: scaled, they are those of fp32."""
    small = dict.fromkeys(range(20), 0.0)

    def tiny(model: nn.Module, batch: Tokens) -> Loss:
        loss = toy.objective(model, batch)
        return loss._replace(total=loss.total * 2.0**-24)

    norms = {}
    for precision in ("fp16", "fp32"):
        config = replace(FP16, precision=precision, steps=1)
        arguments = overflowing(small) | {"objective": tiny, "evaluate": None}
        toy.run(tmp_path / precision, config, **arguments)
        norms[precision] = rows(tmp_path / precision)[0]["grad_norm"]
    assert norms["fp16"] == pytest.approx(norms["fp32"], rel=0.05)


def test_a_gradient_that_no_scale_makes_finite_ends_the_run(tmp_path, capsys):
    with pytest.raises(UserError, match=r"step 23: the loss is .* or --precision fp32"):
        config = replace(FP16, steps=40, eval_every=0)
        always = dict.fromkeys(range(2, 40), math.inf)
        toy.run(tmp_path / "run", config, **overflowing(always), quiet=False)
    said = capsys.readouterr().err
    assert "too large for fp16: it is left out (20 so far), and the loss scale" in " ".join(
        said.split()
    )
    assert plainformer.training.loss_scale.SMALLEST == 64 / 2**20


def main() -> None:
    torch.set_num_threads(1)
    with processes():
        toy.run(Path(sys.argv[1]), FP16, **overflowing(TWICE))


if __name__ == "__main__":
    main()
