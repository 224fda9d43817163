"""BitFit and gradual unfreezing: the biases' own gradients; what is frozen, and how long."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plainformer.base import UserError
from plainformer.encoder import MaskedLM, SequenceClassifier
from plainformer.encoder.weights import FAMILIES
from plainformer.finetune import FinetuneConfig, Predictor, TuningOptions, finetune
from plainformer.finetune.tuning import train_biases, unfreeze_gradually
from tests.encoder.families import inputs, pair
from tests.encoder.tools import assert_close, bert, modern, padded
from tests.finetune import test_distributed as distributed
from tests.finetune.test_tuning import settings

METHODS: dict[str, dict[str, Any]] = {"bitfit": {"bitfit": True}, "unfreeze": {"unfreeze": 0.25}}
HEADS = ("classifier", "pre_classifier")  # the pooler of DistilBERT, which a bare one has not
EACH = pytest.mark.parametrize("name", METHODS)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_biases_have_the_gradients_of_full_fine_tuning(family: str, tmp_path: Path) -> None:
    theirs, ours = pair(family, "SequenceClassifier", tmp_path)
    theirs, ours = theirs.double(), ours.double()
    train_biases(ours)
    ours(**inputs(family)).square().sum().backward()
    theirs(**inputs(family)).logits.square().sum().backward()
    found = {}
    for name, parameter in ours.named_parameters():
        if parameter.grad is not None:
            found |= FAMILIES[family].split(name, parameter.grad, "SequenceClassifier")
    expected = {
        name: parameter.grad
        for name, parameter in theirs.named_parameters()
        if parameter.grad is not None and (name.endswith(".bias") or name.startswith(HEADS))
    }
    assert found.keys() == expected.keys() and len(found) > 15
    for name, gradient in found.items():
        assert_close(gradient, expected[name], 1e-8)


def trained(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_a_masked_language_model_trains_the_biases_of_its_head() -> None:
    model = MaskedLM(bert())
    train_biases(model)
    assert "bias" in trained(model)
    assert all(name.rpartition(".")[2] == "bias" for name in trained(model))


def test_a_model_without_biases_is_refused() -> None:
    model = SequenceClassifier(modern())
    with pytest.raises(UserError, match="the layers of this model have none"):
        train_biases(model)
    assert trained(model) == {name for name, _ in model.named_parameters()}


def with_gradients(hook: Any, model: Any, step: int) -> set[str]:
    """The names of the parameters that still have a gradient when the hook was called."""
    model(**padded([5, 3])).sum().backward()
    hook(model, step)
    found = {name for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_layers_are_unfrozen_from_the_top_down() -> None:
    model = SequenceClassifier(bert(num_hidden_layers=3))
    hook = unfreeze_gradually(0.1, steps=100)
    head = {"classifier", "encoder.pooler"}
    order = [f"encoder.blocks.{n}" for n in (2, 1, 0)] + ["encoder.embeddings"]
    for step, count in ((0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3), (39, 3), (40, 4)):
        wanted = tuple(f"{place}." for place in (*head, *order[:count]))
        names = {name for name, _ in model.named_parameters() if name.startswith(wanted)}
        assert with_gradients(hook, model, step) == names


@pytest.fixture(scope="module")
def runs(models, files, one_thread, tmp_path_factory) -> Path:
    """A run of each method, and half of one ended by another."""
    folder = tmp_path_factory.mktemp("frozen")
    for name, tuning in METHODS.items():
        config = run_of(models, files, folder / "one" / name, **tuning)
        finetune(config, quiet=True)
        begun = distributed.begun(folder / "one" / name, folder / "resumed" / name, 4)
        finetune(replace(config, out=begun, resume=True), quiet=True)
    return folder


@pytest.fixture(scope="module")
def on_two(models, files, runs) -> Path:
    """The folder of `runs`, with a run of each method on two processes."""
    two = [run_of(models, files, runs / "two" / n, **tuning) for n, tuning in METHODS.items()]
    distributed.run_on(2, two, runs)
    return runs


def run_of(models, files, out: Path, **tuning: Any) -> FinetuneConfig:
    """Eight steps, of which each is a checkpoint."""
    config, rate = settings(models, files, out, **tuning), 0.1 if "bitfit" in tuning else 1e-2
    training = replace(config.training, checkpoint_every=1, learning_rate=rate, keep=9)
    return replace(config, training=training)


def checkpoint(run: Path, step: int, file: str = "model") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:08d}" / f"{file}.safetensors")


@pytest.mark.slow
@EACH
def test_two_processes_take_the_steps_of_one(on_two, name):
    distributed.assert_alike(on_two / "one" / name, on_two / "two" / name)


@EACH
def test_a_resumed_run_is_the_one_that_was_not_stopped(runs, name):
    for file in ("model", "optimizer"):
        one, resumed = (checkpoint(runs / which / name, 8, file) for which in ("one", "resumed"))
        assert one.keys() == resumed.keys()
        assert all(tensor.equal(resumed[key]) for key, tensor in one.items())


NEW = ("classifier", "encoder.pooler")  # of a model that was pretrained without a pooler


def test_weights_stay_bit_for_bit_and_biases_move(runs):
    first, last = (checkpoint(runs / "one" / "bitfit", step) for step in (1, 8))
    for name, tensor in last.items():
        is_trained = name.endswith("bias") or name.startswith(NEW)
        assert tensor.equal(first[name]) != is_trained, name
    optimizer = checkpoint(runs / "one" / "bitfit", 8, "optimizer")
    assert all("bias." in name or name.startswith(NEW) for name in optimizer)


def test_each_layer_takes_the_steps_since_it_was_unfrozen(runs):
    """One more layer every two of the eight steps; AdamW counts the steps of each parameter."""
    last = checkpoint(runs / "one" / "unfreeze", 8, "optimizer")
    taken = {"classifier": 8, "encoder.pooler": 8, "encoder.blocks.0": 6, "encoder.embeddings": 4}
    for place, count in taken.items():
        counted = [t for n, t in last.items() if n.startswith(place) and n.endswith(".step")]
        assert counted and {int(tensor) for tensor in counted} == {count}
        states = [checkpoint(runs / "one" / "unfreeze", step) for step in range(1, 9)]
        for name in (name for name in states[0] if name.startswith(place)):
            moved = [not a[name].equal(b[name]) for a, b in pairwise(states)]
            frozen = max(8 - count - 1, 0)  # of the seven steps after the first
            assert not any(moved[:frozen]) and any(moved[frozen:]), name


@EACH
def test_the_folder_predicts_what_the_run_measured(files, runs, name):
    lines = Path(files("valid")).read_text().splitlines()[1:]
    texts, labels = zip(*(line.split("\t") for line in lines), strict=True)
    found = [prediction.label for prediction in Predictor.load(runs / "one" / name, "cpu")(texts)]
    right = sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)
    scores = json.loads((runs / "one" / name / "metrics.json").read_text())["valid"]
    assert right == pytest.approx(scores["accuracy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unfreeze": 1.0}, "unfreeze must be"),
        ({"unfreeze": -0.1}, "unfreeze must be"),
        ({"bitfit": True, "lora": 8}, "lora and bitfit each choose what is trained"),
        ({"bitfit": True, "unfreeze": 0.1}, "bitfit and unfreeze each choose"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        TuningOptions(**options)


@EACH
def test_random_weights_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} keeps pretrained weights"):
        FinetuneConfig(
            tmp_path, "t", tmp_path, from_scratch=True, tuning=TuningOptions(**METHODS[name])
        )
