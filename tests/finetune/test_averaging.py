"""Averages of weights: their recursions, and that they are evaluated, saved, and survive.

    python -m torch.distributed.run … -m tests.finetune.test_averaging FOLDER

trains a sharded model and keeps its average.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

import plainformer.training.run_log
from plainformer.base import UserError, write_json
from plainformer.encoder import MaskedLM, SequenceClassifier
from plainformer.finetune import RobustOptions, evaluate_folder, finetune
from plainformer.finetune.robust.averaging import (
    add_average,
    averaged,
    ema,
    keep_average,
    swa,
    update_average,
)
from plainformer.training import train
from tests.finetune import test_distributed as distributed
from tests.finetune.test_robust import settings
from tests.processes import run_in_process, run_on_processes
from tests.training import test_several_losses as several

ROOT = Path(__file__).parents[2]
AVERAGES: dict[str, dict[str, float]] = {"ema": {"ema": 0.7}, "swa": {"swa": 0.75}}


def walk(steps: int, weight) -> tuple[list[dict[str, Tensor]], MaskedLM]:
    """Weights of a model that change at random, and the model with their average."""
    model = several.new_model().double()
    add_average(model)
    path = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.startswith("average."):
                    parameter.normal_()
        update_average(model, weight(step))
        path.append({n: t.clone() for n, t in averaged_free(model).items()})
    return path, model


def averaged_free(model: MaskedLM) -> dict[str, Tensor]:
    """The parameters of a model without those of its average."""
    return {n: p for n, p in model.named_parameters() if not n.startswith("average.")}


def test_ema_is_its_closed_form():
    path, model = walk(7, ema(0.8))
    weights = [0.2 * 0.8 ** (7 - i) / (1 - 0.8**7) for i in range(1, 8)]
    assert sum(weights) == pytest.approx(1)
    for name, average in averaged(model).named_parameters():
        wanted = sum(w * state[name] for w, state in zip(weights, path, strict=True))
        torch.testing.assert_close(average, wanted, rtol=1e-12, atol=1e-12, msg=name)


def test_swa_is_the_mean_of_the_last_steps_as_torchs():
    path, model = walk(10, swa(0.4, 10))
    theirs = AveragedModel(several.new_model().double())
    for state in path[6:]:
        current = several.new_model().double()
        current.load_state_dict(state, strict=False)
        theirs.update_parameters(current)
    for name, average in averaged(model).named_parameters():
        wanted = theirs.module.get_parameter(name)
        torch.testing.assert_close(average, wanted, rtol=1e-12, atol=1e-12, msg=name)


def test_before_swa_begins_the_average_is_the_model():
    path, model = walk(6, swa(0.4, 10))
    assert all(torch.equal(a, path[-1][n]) for n, a in averaged(model).named_parameters())


@pytest.mark.parametrize("share", [1e-9, 0.1, 1.0])
def test_swa_averages_at_least_the_last_step(share):
    weights = [swa(share, 10)(step) for step in range(1, 11)]
    count = {1e-9: 1, 0.1: 1, 1.0: 10}[share]
    assert weights[-1] == pytest.approx(1 / count)


def test_what_does_not_change_is_averaged_bit_for_bit():
    model = several.new_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    add_average(model)
    for step in range(1, 50):
        update_average(model, ema(0.9)(step))
    keep_average(model)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def last(run: Path, name: str = "best") -> dict[str, Tensor]:
    """The weights of a checkpoint."""
    return load_file(run / "checkpoints" / name / "model.safetensors")


@pytest.fixture(scope="module")
def unbroken(models, files, one_thread, tmp_path_factory) -> dict[str, Path]:
    """A run of each average."""
    folder = tmp_path_factory.mktemp("averages")
    for name, robust in AVERAGES.items():
        finetune(settings(models, files, folder / name, **robust), quiet=True)
    return {name: folder / name for name in AVERAGES}


@pytest.mark.parametrize("name", AVERAGES)
def test_the_best_average_is_saved_and_nothing_else(files, unbroken, name):
    best = last(unbroken[name])
    saved = SequenceClassifier.from_pretrained(unbroken[name]).state_dict()
    assert len(best) == 2 * len(saved)
    assert all(torch.equal(tensor, best[f"average.{key}"]) for key, tensor in saved.items())
    assert not all(torch.equal(tensor, best[key]) for key, tensor in saved.items())
    accuracy = evaluate_folder(unbroken[name], files("valid"), quiet=True).metric.accuracy
    assert accuracy == max(
        row["evaluation"]["accuracy"]
        for row in distributed.log(unbroken[name])
        if "evaluation" in row
    )


def test_swa_of_a_run_is_the_mean_of_its_checkpoints(models, files, tmp_path):
    config = settings(models, files, tmp_path / "run", swa=0.5)
    training = replace(config.training, checkpoint_every=1, eval_every=8)
    finetune(replace(config, training=training), quiet=True)
    final = last(config.out, "step-00000008")
    states = [last(config.out, f"step-0000000{step}") for step in (5, 6, 7, 8)]
    for name in (name for name in final if name.startswith("average.")):
        wanted = sum(state[name.removeprefix("average.")] for state in states) / 4
        torch.testing.assert_close(final[name], wanted, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", AVERAGES)
def test_a_killed_run_goes_on_with_its_average(models, files, unbroken, tmp_path, name):
    config = settings(models, files, tmp_path / "run", **AVERAGES[name])
    write_json(tmp_path / "options.json", asdict(config))
    options = str(tmp_path / "options.json")
    code, output = run_in_process("tests.programs.killed_finetuning", [options])
    assert code == -9, output
    assert not (tmp_path / "run" / "model.safetensors").exists()
    finetune(replace(config, resume=True), quiet=True)
    for file in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (tmp_path / "run" / file).read_bytes() == (unbroken[name] / file).read_bytes(), file


def sharded(out: Path) -> None:
    """Train with a sharded model, and write its average where a process is the main one."""
    model = several.new_model()
    add_average(model)
    config = replace(several.CONFIG, parallel="fsdp", checkpoint_every=1, keep=9)
    train(
        model,
        several.masked_lm,
        several.own_batches,
        config,
        out,
        after_step=lambda model, step: update_average(model, ema(0.6)(step)),
        quiet=True,
    )


@pytest.mark.slow
def test_the_average_of_a_sharded_model_is_that_of_a_whole_one(tmp_path):
    sharded(tmp_path / "one")
    run_on_processes(2, "tests.finetune.test_averaging", [str(tmp_path / "two")], timeout=120)
    names = [f"step-{step:08d}" for step in range(1, several.STEPS + 1)]
    states = [last(tmp_path / "two", name) for name in names]
    one, two = last(tmp_path / "one", names[-1]), states[-1]
    weights = [0.4 * 0.6 ** (len(states) - i) for i in range(1, len(states) + 1)]
    for name in (name for name in two if name.startswith("average.")):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)
        own = name.removeprefix("average.")
        wanted = sum(w * s[own] for w, s in zip(weights, states, strict=True)) / sum(weights)
        torch.testing.assert_close(two[name], wanted, rtol=1e-5, atol=1e-6, msg=name)


def test_two_averages_are_refused():
    with pytest.raises(UserError, match="ema and swa"):
        RobustOptions(ema=0.9, swa=0.5)
    for wrong in ({"ema": 1.0}, {"swa": 1.5}):
        with pytest.raises(UserError, match="must be"):
            RobustOptions(**wrong)


if __name__ == "__main__":
    from plainformer.training import processes

    torch.set_num_threads(1)
    plainformer.training.run_log.draw_curve = lambda *_: None
    with processes():
        sharded(Path(sys.argv[1]))
