"""A step out of all proportion is noticed, and left out or stopped at as configured."""

import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.training import Loss
from plainformer.training.spikes import FIRST_STEPS, IN_A_ROW, MEAN_WINDOW, Spikes
from tests.training import toy

SKIP = replace(
    toy.CONFIG,
    steps=100,
    on_spike="skip",
    learning_rate=1e-3,
    eval_every=0,
    checkpoint_every=40,
)


def sick(steps: dict[int, float]):
    """Batches that know their step, and an objective that multiplies the loss of some of them."""
    now = 0

    def batches(step):
        nonlocal now
        now = step
        return toy.batches(step)

    def objective(model, batch):
        loss = toy.objective(model, batch)
        return Loss(loss.total * steps.get(now, 1.0), loss.items, loss.metrics)

    return {"batches": batches, "objective": objective}


def rows(out) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").open()]
    return [row for row in lines if "evaluation" not in row]


@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=FIRST_STEPS))
def test_noise_is_half_the_mean_square_of_the_jumps(values):
    spikes = Spikes()
    for value in values:
        assert not spikes.see(loss=value)
    jumps = np.square(np.diff(values)) / 2
    assert spikes.variance["loss"] == pytest.approx(jumps.mean(), abs=1e-6, rel=1e-6)
    if len(values) <= MEAN_WINDOW:
        assert spikes.mean["loss"] == pytest.approx(np.mean(values), abs=1e-6)


def test_mean_and_noise_follow_the_last_steps():
    spikes = Spikes()
    rng = np.random.default_rng(0)
    for level in (9.0, 4.0):
        assert not any(spikes.see(loss=x) for x in rng.normal(level, 0.1, 2000).tolist())
        assert spikes.mean["loss"] == pytest.approx(level, abs=0.1)
        assert spikes.variance["loss"] ** 0.5 == pytest.approx(0.1, rel=0.3)
    assert not spikes.see(loss=4.4) and spikes.see(loss=4.9)
    assert spikes.see(loss=math.nan) and spikes.in_a_row == 2
    assert not spikes.see(loss=0.0) and spikes.in_a_row == 0


@pytest.mark.parametrize("first", [20, 50, 100])
def test_a_spike_right_after_the_descent_is_seen(first):
    """From 10 down to 5, with a noise of 0.1: a step at 7 is a spike, the descent has none."""
    rng = np.random.default_rng(1)
    spikes = Spikes()
    steps = np.arange(first + FIRST_STEPS)
    losses = 5 + 5 * np.exp(-steps / (first / 4)) + rng.normal(0, 0.1, len(steps))
    assert not any(spikes.see(loss=loss) for loss in losses.tolist())
    assert spikes.see(loss=7.0)
    assert not spikes.see(loss=5.1)


def test_noise_with_heavy_tails_is_seldom_a_spike():
    rng = np.random.default_rng(2)
    norms = np.exp(rng.normal(0, 0.3, 20_000)).tolist()
    spikes = Spikes()
    assert sum(spikes.see(grad_norm=norm) for norm in norms) < 10


def test_at_first_only_what_is_no_number_is_a_spike():
    spikes = Spikes()
    assert not spikes.see(loss=1.0) and not spikes.see(loss=1e9) and spikes.see(loss=math.inf)


@pytest.mark.parametrize("factor", [math.nan, 1e4])
def test_a_skipped_step_leaves_weights_and_optimizer_as_they_were(tmp_path, factor):
    config = replace(SKIP, schedule="constant", steps=80)
    toy.run(tmp_path / "without", config)
    toy.run(tmp_path / "with", replace(config, steps=81), **sick({80: factor}))
    assert [row["step"] for row in rows(tmp_path / "with") if "skipped" in row] == [81]
    for name in ("model.safetensors", "optimizer.safetensors"):
        one = tmp_path / "without" / "checkpoints" / "step-00000080" / name
        other = tmp_path / "with" / "checkpoints" / "step-00000081" / name
        assert one.read_bytes() == other.read_bytes()


def test_what_is_skipped_does_not_hang_on_where_the_run_was_stopped(tmp_path):
    spikes = {70: math.nan, 71: 1e4, 90: 1e4}
    toy.run(tmp_path / "whole", SKIP, **sick(spikes))
    assert sum("skipped" in row for row in rows(tmp_path / "whole")) == 3
    changes = sick(spikes)
    plain = changes["batches"]

    def batches(step):
        if step == 70:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(step)

    with pytest.raises(SystemExit):
        toy.run(tmp_path / "broken", SKIP, **changes | {"batches": batches})
    assert rows(tmp_path / "broken")[-1]["skipped"]
    toy.run(tmp_path / "broken", SKIP, **changes, resume=True)
    toy.assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_run_without_spikes_is_the_same_with_and_without_the_watch(tmp_path, unbroken):
    for policy in ("skip", "stop"):
        toy.run(tmp_path / policy, replace(toy.CONFIG, on_spike=policy))
        toy.assert_same_run(unbroken, tmp_path / policy)


def test_too_many_in_a_row_are_no_exception(tmp_path):
    spikes = dict.fromkeys(range(20, 99), math.nan)
    with pytest.raises(UserError, match=rf"step {20 + IN_A_ROW}: .* in a row were left out: try a"):
        toy.run(tmp_path / "run", SKIP, **sick(spikes))
    assert [row["step"] for row in rows(tmp_path / "run") if row.get("skipped")] == [*range(21, 31)]
    ever = {step: math.nan for step in range(100) if step % IN_A_ROW}
    _, result = toy.run(tmp_path / "other", SKIP, **sick(ever))
    assert result.steps == 100


def test_stop_and_then_skip(tmp_path):
    """A run that was stopped at a spike goes on from before it, and leaves it out."""
    out = tmp_path / "run"
    stop = replace(SKIP, on_spike="stop")
    with pytest.raises(UserError, match=r"step 81: .* a spike: .*--on-spike skip"):
        toy.run(out, stop, **sick({80: 1e4}))
    toy.run(out, SKIP, **sick({80: 1e4}), resume=True)
    toy.run(tmp_path / "skip", SKIP, **sick({80: 1e4}))
    toy.assert_same_run(tmp_path / "skip", out)


def test_by_default_a_spike_is_let_pass_and_a_nan_is_not(tmp_path):
    ignore = replace(SKIP, on_spike="ignore")
    _, result = toy.run(tmp_path / "run", ignore, **sick({80: 1e4}))
    assert result.steps == 100
    with pytest.raises(UserError, match=r"step 81: the loss is nan.*--on-spike skip"):
        toy.run(tmp_path / "nan", ignore, **sick({80: math.nan}))
    toy.run(tmp_path / "nan", SKIP, **sick({80: math.nan}), resume=True)
    assert torch.tensor([row["loss"] or 0.0 for row in rows(tmp_path / "nan")]).isfinite().all()
