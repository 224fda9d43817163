"""The curves in other tools: what TensorBoard reads is what the log holds, resumed or not."""

import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from plainformer.base import UserError
from plainformer.training import refuse_missing_trackers
from tests.training import toy

CONFIG = replace(toy.CONFIG, steps=12, eval_every=4, checkpoint_every=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step be told."""
    monkeypatch.setattr("plainformer.training.run_log.INTERVAL", 0.0)


def logged(out: Path) -> dict[str, dict[int, float]]:
    """Name → step → value, as the run's own log has it."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in map(json.loads, (out / "log.jsonl").open()):
        prefix = "held_out" if "evaluation" in row else "training"
        for name, value in row.get("evaluation", row).items():
            if name != "step":
                found[f"{prefix}/{name}"][row["step"]] = value
    return found


def shown(out: Path) -> dict[str, dict[int, float]]:
    """The same, as TensorBoard reads its event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def assert_same_curves(out: Path) -> None:
    ours, theirs = logged(out), shown(out)
    assert set(theirs) == {*ours, "speed/seconds", "speed/tokens_per_second"}
    for name, values in ours.items():
        assert theirs[name] == pytest.approx(values, rel=1e-6), name


def stop_after(step: int, batches=toy.batches):
    """Batches that end in a crash, as a killed run."""

    def given(number: int):
        if number == step:
            raise RuntimeError("killed")
        return batches(number)

    return given


def test_tensorboard_shows_what_the_log_holds(tmp_path):
    pytest.importorskip("tensorboard")
    config = replace(CONFIG, track=("tensorboard",))
    toy.run(tmp_path / "whole", config)
    assert_same_curves(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        toy.run(tmp_path / "cut", config, batches=stop_after(10))
    assert max(shown(tmp_path / "cut")["training/loss"]) == 10
    toy.run(tmp_path / "cut", config, resume=True)
    assert_same_curves(tmp_path / "cut")
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


def test_wandb_goes_on_in_the_same_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = replace(CONFIG, track=("wandb",))
    with pytest.raises(RuntimeError, match="killed"):
        toy.run(tmp_path / "run", config, batches=stop_after(10))
    (first,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    toy.run(tmp_path / "run", config, resume=True)
    # A finished run's file is flushed by wandb's own process, a moment later unless waited for.
    wandb.teardown()
    _, second = sorted((tmp_path / "run" / "wandb").glob("offline-run-*-*"))
    assert first.name.rpartition("-")[2] == second.name.rpartition("-")[2]
    kept = next(second.glob("*.wandb")).read_bytes()
    for name in (b"training/loss", b"held_out/loss", b"speed/tokens_per_second"):
        assert name in kept


def test_a_run_may_be_resumed_with_other_tools(tmp_path):
    pytest.importorskip("tensorboard")
    with pytest.raises(RuntimeError, match="killed"):
        toy.run(tmp_path / "run", CONFIG, batches=stop_after(10))
    toy.run(tmp_path / "run", replace(CONFIG, track=("tensorboard",)), resume=True)
    assert min(shown(tmp_path / "run")["training/loss"]) == 9


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, name):
    for module in [module for module in sys.modules if "tensorboard" in module]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name} is not installed: pip install {name}"):
        refuse_missing_trackers((name,))
    with pytest.raises(UserError, match=rf"{name} is not installed: pip install {name}"):
        toy.run(tmp_path / "run", replace(CONFIG, track=(name,)))
    toy.run(tmp_path / "run", CONFIG)  # nothing has begun


def test_wandb_without_an_account(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**settings):
        raise wandb.errors.UsageError("no api key")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"wandb cannot begin \(no api key\): WANDB_MODE=offline"):
        toy.run(tmp_path / "run", replace(CONFIG, track=("wandb",)))
