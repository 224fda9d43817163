"""What was stopped, however it was stopped, ends as if it never had been."""

import json
import math
import random
import resource
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from plainformer.base import UserError
from plainformer.training import Loss
from tests.processes import run_in_process
from tests.training import toy

ROOT = Path(__file__).parents[2]
EPOCH = toy.ORDER.steps(1)
RANDOM = random.Random(7)


def kill_child(out: Path, where: str, when: int) -> None:
    code, output = run_in_process("tests.programs.killed_training", [str(out), where, str(when)])
    assert code == -signal.SIGKILL, output


@pytest.mark.parametrize(
    "when",
    [
        pytest.param(RANDOM.randrange(1, 5), id="before-the-first-checkpoint"),
        pytest.param(RANDOM.randrange(EPOCH + 2, 2 * EPOCH), id="second-epoch"),
        pytest.param(RANDOM.randrange(2 * EPOCH, toy.CONFIG.steps), id="later"),
    ],
)
def test_killed_at_a_random_step(tmp_path, unbroken, when):
    kill_child(tmp_path / "run", "step", when)
    assert (tmp_path / "run" / "log.jsonl").exists()
    toy.run(tmp_path / "run", resume=True)
    toy.assert_same_run(unbroken, tmp_path / "run")


def test_killed_while_saving(tmp_path, unbroken):
    out = tmp_path / "run"
    kill_child(out, "save", 11)
    begun = {path.name for path in (out / "checkpoints").glob("step-*")}
    begun |= {path.name for path in (out / "checkpoints").glob(".plainformer-*/new/*")}
    assert begun == {"step-00000005", "step-00000010", "step-00000015"}  # the last one unfinished
    toy.run(out, resume=True)
    toy.assert_same_run(unbroken, out)
    assert sorted(path.name for path in toy.saved(out)) == ["step-00000035", "step-00000040"]


@pytest.fixture(scope="module")
def power_cut(one_thread, tmp_path_factory) -> Path:
    """A run that failed at step 12, with checkpoints of the steps 5 and 10."""

    def batches(step):
        if step == 12:
            raise RuntimeError("power cut")
        return toy.batches(step)

    out = tmp_path_factory.mktemp("power-cut") / "run"
    with pytest.raises(RuntimeError):
        toy.run(out, batches=batches)
    return out


@pytest.fixture
def stopped(power_cut, tmp_path) -> Path:
    """A copy of it, to be spoilt."""
    return shutil.copytree(power_cut, tmp_path / "run")


def test_a_folder_with_a_run_is_not_overwritten(stopped):
    log = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"already holds a run.*--resume"):
        toy.run(stopped)
    assert (stopped / "log.jsonl").read_bytes() == log


def test_resume_without_a_run_starts_one(tmp_path, unbroken):
    toy.run(tmp_path / "new", resume=True)
    toy.assert_same_run(unbroken, tmp_path / "new")


def test_other_settings_are_refused_by_name(stopped):
    with pytest.raises(UserError, match=r"started with learning_rate=0\.01, not 0\.02: "):
        toy.run(stopped, replace(toy.CONFIG, learning_rate=0.02), resume=True)
    with pytest.raises(UserError, match="betas"):
        toy.run(stopped, replace(toy.CONFIG, betas=(0.9, 0.999)), resume=True)


def test_harmless_settings_may_change(stopped, unbroken):
    toy.run(stopped, replace(toy.CONFIG, keep=1, checkpoint_every=7, device="auto"), resume=True)
    toy.assert_same_run(unbroken, stopped)
    assert len(toy.saved(stopped)) == 1


FILES = ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"]


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "gone":
            path.unlink()
        case "bit":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "gone", "bit"])
def test_a_damaged_checkpoint_is_passed_over(stopped, unbroken, capsys, name, damage):
    spoil(stopped / "checkpoints" / "step-00000010" / name, damage)
    toy.run(stopped, resume=True)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1 and "step-00000010 is damaged" in warnings[0]
    toy.assert_same_run(unbroken, stopped)


def test_when_all_are_damaged_nothing_is_begun_anew(stopped):
    for folder in toy.saved(stopped):
        spoil(folder / "model.safetensors", "bit")
    log = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole .*step-00000010, step-0+5"):
        toy.run(stopped, resume=True)
    assert (stopped / "log.jsonl").read_bytes() == log


def test_a_damaged_checkpoint_does_not_push_out_a_whole_one(stopped, unbroken):
    """Neither as one to keep, with another interval, nor when it comes to be written again."""
    spoil(stopped / "checkpoints" / "step-00000010" / "model.safetensors", "bit")
    config = replace(toy.CONFIG, keep=1, checkpoint_every=7)
    with pytest.raises(KeyboardInterrupt):
        toy.run(stopped, config, batches=toy.stopping(signal.SIGINT, 7), resume=True)
    toy.run(stopped, resume=True)
    toy.assert_same_run(unbroken, stopped)
    names = sorted(path.name for path in toy.saved(stopped))
    assert names == ["step-00000035", "step-00000040"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_checksums_are_those_of_sha256sum(stopped):
    folder = stopped / "checkpoints" / "step-00000010"
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert said.count(": OK") == 3


def test_a_best_that_is_lost_is_sought_again(tmp_path, capsys):
    """Killed between two renames it comes back; damaged, it is as if there had been none."""
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        toy.run(out, batches=toy.stopping(signal.SIGINT, 20), monitor="loss")
    best = out / "checkpoints" / "best"
    (best.parent / ".plainformer-x_4" / "old").mkdir(parents=True)
    best.rename(best.parent / ".plainformer-x_4" / "old" / "best")
    again = shutil.copytree(out, tmp_path / "again")

    _, result = toy.run(out, monitor="loss", resume=True)
    assert result.best_step == 40 and capsys.readouterr().err == ""

    spoil(again / "checkpoints" / ".plainformer-x_4" / "old" / "best" / "model.safetensors", "bit")
    worse = iter([9.0, 8.0, 9.0])
    _, result = toy.run(
        again, monitor="loss", evaluate=lambda _: {"loss": next(worse)}, resume=True
    )
    assert result.best_step == 32 and result.best == {"loss": 8.0}
    assert "best is damaged" in capsys.readouterr().err


def test_the_checkpoint_before_will_do(stopped, unbroken):
    shutil.rmtree(stopped / "checkpoints" / "step-00000010")
    toy.run(stopped, resume=True)
    toy.assert_same_run(unbroken, stopped)


def test_a_cut_log_is_noticed(stopped):
    (stopped / "log.jsonl").write_text("")
    with pytest.raises(UserError, match=r"log\.jsonl is shorter"):
        toy.run(stopped, resume=True)


def test_what_was_logged_after_the_checkpoint_is_dropped(stopped, unbroken):
    for name in ("log.jsonl", "speed.jsonl"):
        with (stopped / name).open("a") as file:
            file.write('{"step": 12, "lo' * 2000)
    toy.run(stopped, resume=True)
    toy.assert_same_run(unbroken, stopped)
    steps = [json.loads(line)["step"] for line in (stopped / "speed.jsonl").open()]
    assert steps == sorted(set(steps)) and steps[-1] == 40


def test_another_model_is_refused(stopped):
    class Wider(toy.Model):
        def __init__(self) -> None:
            super().__init__()
            self.extra = nn.Linear(2, 2)

    with pytest.raises(UserError, match=r"from another model.*extra\.weight"):
        toy.run(stopped, model=Wider(), resume=True)


def test_a_finished_run_is_finished_again(tmp_path):
    first, result = toy.run(tmp_path / "run", monitor="loss")
    again, same = toy.run(tmp_path / "run", monitor="loss", resume=True)
    assert same == result
    for name, tensor in first.state_dict().items():
        assert tensor.equal(again.state_dict()[name])


def test_resumed_best_and_patience(tmp_path):
    """The best so far, and the patience spent, survive a stop."""
    changes = {"monitor": "accuracy", "higher_is_better": True}
    config = replace(toy.CONFIG, patience=2, eval_every=1, steps=400)
    whole, result = toy.run(tmp_path / "whole", config, **changes)
    assert result.stopped == "patience" and result.steps == result.best_step + 2

    changes["batches"] = toy.stopping(signal.SIGINT, result.steps - 1)
    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path / "broken", config, **changes)
    parts, resumed = toy.run(tmp_path / "broken", config, **changes, resume=True)
    assert replace(resumed, seconds=0.0) == replace(result, seconds=0.0)
    for name, tensor in whole.state_dict().items():
        assert tensor.equal(parts.state_dict()[name])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number(tmp_path, unbroken, value):
    steps = 0

    def objective(model, batch):
        nonlocal steps
        steps += 1
        loss = toy.objective(model, batch)
        sick = steps > 2 * 12  # two micro-batches a step
        # Added, it leaves the gradient as it was: the loss itself must be looked at.
        return Loss(loss.total + value if sick else loss.total, loss.items, loss.metrics)

    with pytest.raises(UserError, match=r"step 13: the loss is .*learning rate"):
        toy.run(tmp_path / "run", objective=objective)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert rows[-1]["step"] == 13
    toy.run(tmp_path / "run", resume=True)
    toy.assert_same_run(unbroken, tmp_path / "run")


def test_a_gradient_that_is_no_number(tmp_path):
    def objective(model, batch):
        loss = toy.objective(model, batch)
        root = (model.classify.weight * 0).abs().sum().sqrt()  # value 0, gradient NaN
        return Loss(loss.total + root, loss.items)

    with pytest.raises(UserError, match=r"step 1: .*gradient norm nan"):
        toy.run(tmp_path / "run", objective=objective)


@pytest.mark.parametrize("limit", [100, 8_000], ids=["log", "checkpoint"])
def test_full_disk(tmp_path, unbroken, limit):
    """A limit on the size of files is the portable way to run out of space in earnest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "run"

    def batches(step):
        if step == 12:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        return toy.batches(step)

    try:
        with pytest.raises(UserError, match=r"^no space left to write in .*run .*then resume$"):
            toy.run(out, batches=batches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in toy.saved(out)) == ["step-00000005", "step-00000010"]
    toy.run(out, resume=True)
    toy.assert_same_run(unbroken, out)
