"""A signal: what is done is saved before the run leaves, and it goes on as if never stopped."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import safetensors.torch

from tests.training import toy

ROOT = Path(__file__).parents[2]
EPOCH = toy.ORDER.steps(1)

CODES = {signal.SIGINT: None, signal.SIGTERM: 143, signal.SIGUSR1: 138}


@pytest.mark.parametrize("number", CODES)
def test_a_signal_saves_before_it_leaves(tmp_path, unbroken, number):
    out = tmp_path / "run"
    handlers = [signal.getsignal(n) for n in CODES]
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stopped:
        toy.run(out, batches=toy.stopping(number, 12))
    assert handlers == [signal.getsignal(n) for n in CODES]
    if number == signal.SIGINT:
        assert "step 13" in str(stopped.value) and "--resume" in str(stopped.value)
    else:
        assert stopped.value.code == CODES[number]
    assert out / "checkpoints" / "step-00000013" in toy.saved(out)
    toy.run(out, resume=True)
    toy.assert_same_run(unbroken, out)


@pytest.mark.parametrize("step", [16, 40])  # in the middle, and at the end
def test_a_signal_does_not_wait_for_an_evaluation(tmp_path, unbroken, step):
    out = tmp_path / "run"

    def evaluate(model):
        log = (out / "log.jsonl").read_text()
        if f'"step": {step}' in log:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the evaluation went on")
        return toy.score(model)

    with pytest.raises(SystemExit) as stopped:
        toy.run(out, evaluate=evaluate)
    assert stopped.value.code == 143
    assert max(toy.saved(out)).name == f"step-{step:08d}"
    toy.run(out, resume=True)
    toy.assert_same_run(unbroken, out)
    state = json.loads((max(toy.saved(out)) / "state.json").read_text())["state"]
    assert state["evaluated"] == 40


def test_a_signal_while_saving_takes_no_further_step(tmp_path, unbroken, monkeypatch):
    out = tmp_path / "run"

    def save_tensors(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.undo()
        safetensors.torch.save_file(*arguments)

    monkeypatch.setattr("plainformer.training.checkpoint.save_tensors", save_tensors)
    with pytest.raises(SystemExit):
        toy.run(out)
    assert [path.name for path in toy.saved(out)] == ["step-00000005"]
    toy.run(out, resume=True)
    toy.assert_same_run(unbroken, out)


def test_a_second_ctrl_c_leaves_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("plainformer.training.signals.ECHO", 0.0)

    def batches(step):
        if step == 12:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return toy.batches(step)

    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path / "run", batches=batches)
    assert max(path.name for path in toy.saved(tmp_path / "run")) == "step-00000010"


@pytest.mark.parametrize("number", CODES)
def test_the_same_signal_twice_over_is_one(tmp_path, number):
    """As torchrun and a terminal, or a scheduler and its shell, both send it."""

    def batches(step):
        if step == 12:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return toy.batches(step)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        toy.run(tmp_path / "run", batches=batches)
    assert max(path.name for path in toy.saved(tmp_path / "run")) == "step-00000013"


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path / "run", batches=toy.stopping(signal.SIGINT, 2), quiet=False)
    assert capsys.readouterr().err.count("--resume") == 1


def test_outside_the_main_thread(tmp_path, unbroken):
    thread = threading.Thread(target=toy.run, args=(tmp_path / "run",))
    thread.start()
    thread.join()
    toy.assert_same_run(unbroken, tmp_path / "run")
