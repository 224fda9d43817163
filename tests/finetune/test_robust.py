"""Robust methods from end to end: learned on one process as on two, and refused where senseless."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    RobustOptions,
    Summary,
    TuningOptions,
    finetune,
)
from tests.finetune import test_distributed as distributed

METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fgm": {"fgm": 0.5},
    "pgd": {"pgd": 0.5, "ascent_steps": 2},
    "freelb": {"freelb": 0.5, "ascent_steps": 2},
    "rdrop": {"rdrop": 2.0},
    "smart": {"smart": 5.0},
    "ema": {"ema": 0.7},
    "swa": {"swa": 0.5},
    "mixup": {"mixup": 0.5},
    "l2-sp": {"l2_sp": 0.1, "reinit_layers": 1},
    "lora-rdrop-ema": {"lora": 4, "rdrop": 1.0, "ema": 0.7},
    "rdrop-smart-fgm": {"rdrop": 1.0, "smart": 1.0, "fgm": 0.5},
}


def settings(models, files, out: Path, lora: int = 0, **robust: Any) -> FinetuneConfig:
    """Eight steps of 13 examples, evaluated twice."""
    task = ClassificationOptions(per_label=26)
    config = distributed.settings(models, files, out, task=task, epochs=2.0)
    training = replace(config.training, eval_every=4, checkpoint_every=4)
    tuning = TuningOptions(lora=lora)
    return replace(config, training=training, tuning=tuning, robust=RobustOptions(**robust))


@pytest.fixture(scope="module")
def runs(models, files, one_thread, tmp_path_factory) -> Path:
    """A run of each method on one process and on two."""
    folder = tmp_path_factory.mktemp("robust")
    for name, robust in METHODS.items():
        finetune(settings(models, files, folder / "one" / name, **robust), quiet=True)
    two = [
        settings(models, files, folder / "two" / name, **robust) for name, robust in METHODS.items()
    ]
    distributed.run_on(2, two, folder)
    return folder


def losses(run: Path) -> list[float]:
    """The training losses of a run."""
    return [row["loss"] for row in distributed.log(run) if "loss" in row]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_take_the_steps_of_one(runs, name):
    one, two = runs / "one" / name, runs / "two" / name
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    rows = zip(distributed.log(one), distributed.log(two), strict=True)
    for row, other in rows:
        loss = row.get("evaluation", {}).get("loss", 0)
        assert other.get("evaluation", {}).get("loss", 0) == pytest.approx(loss, rel=1e-4)
    file = "adapter_model.safetensors" if "lora" in name else "model.safetensors"
    trained, others = (load_file(run / file) for run in (one, two))
    for key, tensor in trained.items():
        torch.testing.assert_close(others[key], tensor, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_the_method_changes_what_is_learned(runs, name):
    plain, robust = losses(runs / "one" / "plain"), losses(runs / "one" / name)
    assert len(plain) == len(robust) == 8
    assert (plain == robust) == (name in ("ema", "swa"))  # which change what is kept alone
    saved = json.loads((runs / "one" / name / "options.json").read_text())["robust"]
    assert saved.items() >= {key: v for key, v in METHODS[name].items() if key != "lora"}.items()


def test_two_adversaries_are_refused():
    with pytest.raises(UserError, match="fgm and pgd perturb the embeddings"):
        RobustOptions(fgm=1.0, pgd=1.0)
    with pytest.raises(UserError, match="ascent_steps"):
        RobustOptions(pgd=1.0, ascent_steps=0)


def test_rdrop_needs_dropout(models, files, tmp_path):
    with pytest.raises(UserError, match="rdrop compares passes with different dropout"):
        replace(settings(models, files, tmp_path, rdrop=1.0), dropout=0.0)


ALL = {"rdrop": 1.0, "smart": 1.0, "freelb": 0.5, "ascent_steps": 2, "ema": 0.7, "l2_sp": 0.1}


@pytest.mark.parametrize(
    "several", [{"seeds": 2}, pytest.param({"folds": 2, "valid": None}, marks=pytest.mark.slow)]
)
def test_methods_go_with_several_runs_in_bf16(models, files, tmp_path, several):
    config = settings(models, files, tmp_path, **ALL)
    training = replace(
        config.training, precision="bf16", activation_checkpointing=True, optimizer="sgd"
    )
    task = ClassificationOptions(per_label=7, label_smoothing=0.1)
    config = replace(config, training=training, task=task, epochs=1.0, batch_size=7, **several)
    outcome = finetune(replace(config, model=models["modern"]), quiet=True)
    assert isinstance(outcome, Summary)
    saved = load_file(tmp_path / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())
    assert not any("average" in name for name in saved)
