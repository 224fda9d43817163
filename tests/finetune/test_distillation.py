"""Distillation: against its formula in float64, for every task, and what survives of a run."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy, kl_div, mse_loss

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import (
    DistillationOptions,
    FinetuneConfig,
    Predictor,
    RegressionOptions,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.distillation import (
    Teacher,
    add_projection,
    distil,
    hidden_distance,
    hidden_states,
    load_teacher,
    remove_projection,
)
from plainformer.finetune.ensemble import Ensemble
from plainformer.finetune.losses.divergence import kl_divergence
from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.robust import RobustOptions, fgm, robust_objective
from plainformer.finetune.run import write_folder
from plainformer.finetune.task_objective import task_objective
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.options import load
from tests.encoder.tools import randomise
from tests.finetune import gradients
from tests.finetune import test_distributed as distributed
from tests.finetune.gradients import LABELS, TASK, TOKENIZER, batch_of, classifier
from tests.finetune.test_robust import settings as robust_settings
from tests.finetune.test_robust_tasks import TASKS, ready
from tests.pretrain import tiny


def larger(layers: int = 5, size: int = 48, architecture: str = "bert") -> SequenceClassifier:
    """A classifier with more and wider layers."""
    shape = replace(tiny.shape(architecture, TOKENIZER), num_hidden_layers=layers, hidden_size=size)
    return randomise(SequenceClassifier(shape, LABELS).double(), seed=7)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_it_is_its_formula(architecture):
    student, teacher, batch = classifier(architecture), larger(), batch_of()
    objective = distil(task_objective(TASK), Teacher(TASK, teacher), 0.3, temperature=3.0)
    ours = gradients.gradients(student, objective, batch)
    z, taught = TASK.outputs(student, batch), TASK.outputs(teacher, batch).detach()
    soft = kl_div(
        (z / 3).log_softmax(-1), (taught / 3).softmax(-1), reduction="sum", log_target=False
    )
    hard = cross_entropy(z, batch.first(batch.targets), reduction="sum")
    assert soft > 0.01
    gradients.assert_same(ours, gradients.of_tensor(student, 0.7 * hard + 0.3 * 9 * soft))
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_at_a_high_temperature_it_is_the_distance_of_centred_logits():
    torch.manual_seed(0)
    z, taught = (5 * torch.randn(4, 6, dtype=torch.float64) for _ in range(2))
    apart = (z - z.mean(-1, keepdim=True)) - (taught - taught.mean(-1, keepdim=True))
    wanted = apart.square().sum() / (2 * 6)
    errors = [abs(float(t**2 * kl_divergence(z, taught, t) - wanted)) for t in (1e2, 1e3, 1e4)]
    assert errors[2] < 1e-2 * float(wanted)
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)  # it vanishes as 1 / T


@pytest.mark.parametrize("size", [32, 48])
def test_hidden_states_are_learned_layer_by_layer(size):
    """Texts in windows: the mean over the layers of each text's mean squared error, alone."""
    task = replace(TASK, overflow="windows")
    student, teacher = classifier("modern"), larger(5, size)
    add_projection(student, size, seed=1)
    items = gradients.items(task)
    batch = Batch.of(items)
    objective = distil(task_objective(task), Teacher(task, teacher), 0.5, 2.0, hidden=0.8)
    ours = gradients.gradients(student, objective, batch)
    assert len(items[0].encodings) > 1 and ("projection.weight" in ours[1]) == (size == 48)
    plain = distil(task_objective(task), Teacher(task, teacher), 0.5, 2.0)
    (loss,) = (plain.compute(student, batch)[1],)
    hidden = torch.zeros((), dtype=torch.float64)
    for item in items:
        for encoding in item.encodings:
            ids = torch.tensor([encoding.ids])
            own, taught = (
                model(ids, output_hidden_states=True).hidden_states[1:]
                for model in (student, teacher)
            )
            assert len(own) == 2 and len(taught) == 5
            pairs = [(own[0], taught[2]), (own[1], taught[4])]
            if size == 48:
                pairs = [(student.projection(x), y) for x, y in pairs]
            hidden = hidden + sum(mse_loss(x, y) for x, y in pairs) / 2 / len(item.encodings)
    gradients.assert_same(ours, gradients.of_tensor(student, loss.total + 0.8 * hidden))
    with hidden_states(student) as own, hidden_states(teacher) as taught:
        student(batch.input_ids, None, batch.token_type_ids, batch.sequences)
        teacher(batch.input_ids, None, batch.token_type_ids, batch.sequences)
    apart = [
        hidden_distance(student, own, taught, n, batch) for n in ([2, 0, 3], [1, 0, 0], [0, 0, 1])
    ]
    torch.testing.assert_close(apart[0], 2 * apart[1] + 3 * apart[2])
    remove_projection(student)
    assert not any("projection" in name for name, _ in student.named_parameters())


@pytest.mark.parametrize("name", TASKS)
def test_a_student_that_equals_its_teacher_is_0_apart(name):
    """Of every task: nothing is left but the labels' share, and hidden states that are equal."""
    task, model, items = ready(name, 0.0)
    _, teacher, _ = ready(name, 0.0)
    teacher.load_state_dict(model.state_dict())
    batch = Batch.of(items)
    objective = distil(task_objective(task), Teacher(task, teacher), 0.25, hidden=1.0)
    (loss,) = gradients.losses_of(model, objective, batch)
    plain = task.loss(task.outputs(model, batch), batch)
    assert loss.items == plain.items == sum(task.item_counts(batch))
    assert loss.total.item() == pytest.approx(0.75 * plain.total.item(), rel=1e-6)
    assert float(loss.metrics["soft"]) == pytest.approx(0, abs=1e-6)
    assert float(loss.metrics["hidden"]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", TASKS)
def test_of_a_batch_it_is_the_sum_of_its_items_and_can_be_learned(name):
    """Of every task, with the hidden states of one teacher and the mean outputs of two."""
    task, model, items = ready(name, 0.0)
    one, two = (randomise(TASKS[name](0.0)[1].double(), seed) for seed in (3, 4))
    objective = distil(task_objective(task), Teacher(task, one), 0.5, 2.0, hidden=2.0)
    if name != "scored_pairs":  # whose joined vectors are compared within the batch
        objective = distil(objective, Teacher(task, Ensemble([task, task], [one, two])), 0.9, 3.0)
    total, found = gradients.gradients(model, objective, Batch.of(items))
    alone = [gradients.gradients(model, objective, Batch.of([item])) for item in items]
    assert total == pytest.approx(sum(loss for loss, _ in alone), rel=1e-5)
    for key, gradient in found.items():
        wanted = sum(grads.get(key, 0) for _, grads in alone)
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4, msg=key)
    steepness = sum(gradient.square().sum() for gradient in found.values())
    with torch.no_grad():
        for key, gradient in found.items():
            model.get_parameter(key).sub_(1e-3 * total / steepness * gradient)
        assert objective(model, Batch.of(items)).total < total


def test_the_teacher_is_asked_once_for_all_passes_of_a_batch():
    teacher, batch = larger(), batch_of()
    asked: list[Any] = []
    teacher.register_forward_hook(lambda *_: asked.append(1))
    objective = distil(task_objective(TASK), Teacher(TASK, teacher))
    student = classifier(dropout=0.1)
    (*_,) = gradients.losses_of(student, fgm(objective, 0.5), batch)
    assert len(asked) == 1
    options = RobustOptions(mixup=0.2, rdrop=1.0, smart=1.0, freelb=0.5, ascent_steps=2)
    nested = robust_objective(TASK, options, lambda o: distil(o, Teacher(TASK, teacher)))
    losses = list(gradients.losses_of(student, nested, batch))
    assert len(asked) == 2 and all(loss.total.isfinite() for loss in losses)
    assert losses[0].metrics.keys() == {"accuracy", "hard", "soft", "rdrop", "smart"}


def test_an_uncounted_batch_teaches_nothing():
    student = classifier()
    objective = distil(task_objective(TASK), Teacher(TASK, larger(5, 32)), hidden=1.0)
    none = Uncounted.of(gradients.items())
    (loss,) = gradients.losses_of(student, objective, none)
    assert loss.items == 0 and not loss.total.item() and not any(map(float, loss.metrics.values()))


# Whole runs


def settings(models, files, out: Path, teacher: Path, **changes: Any) -> FinetuneConfig:
    """Eight steps of 13 examples from a model of other layers than the teacher, with projection."""
    options = DistillationOptions(teacher=(teacher,), teacher_weight=0.7, teacher_hidden=1.0)
    config = robust_settings(models, files, out, ema=0.7)
    return replace(config, **{"distillation": options, **changes})


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory) -> Path:
    """A wider and deeper classifier, whose labels are in another order than the student's."""
    out = tmp_path_factory.mktemp("teachers") / "large"
    shape = replace(tiny.shape("modern", tokenizer), hidden_size=48, num_hidden_layers=4)
    labels = ("bird", "beast")
    model = randomise(SequenceClassifier(shape, labels))
    write_folder(out, Classification(labels=labels, max_length=64), model, tokenizer)
    return out


@pytest.fixture(scope="module")
def unbroken(models, files, teacher, one_thread, tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("distilled") / "run"
    finetune(settings(models, files, out, teacher), quiet=True)
    return out


def test_the_run_learns_from_the_teacher_and_saves_the_student_alone(unbroken, teacher):
    rows = [row for row in distributed.log(unbroken) if "soft" in row]
    assert len(rows) == 8 and all(row["hidden"] > 0 for row in rows)
    for row in rows:
        mixed = 0.3 * row["hard"] + 0.7 * 4 * row["soft"] + row["hidden"]
        assert row["loss"] == pytest.approx(mixed, rel=1e-4)
    best = load_file(unbroken / "checkpoints" / "best" / "model.safetensors")
    saved = load_file(unbroken / "model.safetensors")
    assert "projection.weight" in best and not any("projection" in name for name in saved)
    assert Predictor.load(unbroken).task.labels == ("beast", "bird")
    task = Classification(labels=("beast", "bird"), max_length=32)
    config = load(FinetuneConfig, unbroken / "options.json")
    loaded = load_teacher(config.distillation.teacher, task, config)
    item = task.encode(ClassExample(text="the red hen", label=None, source=""), TOKENIZER)
    (said,) = task.predict(loaded(Batch.of([item]))[0], Batch.of([item]))
    (wanted,) = Predictor.load(teacher)(["the red hen"])
    assert said.probabilities == pytest.approx(wanted.probabilities, abs=1e-6)


def test_a_run_that_is_resumed_goes_on_with_its_projection(
    models, files, teacher, unbroken, tmp_path
):
    out = distributed.begun(unbroken, tmp_path / "run", steps=4)
    finetune(settings(models, files, out, teacher, resume=True), quiet=True)
    for file in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (out / file).read_bytes() == (unbroken / file).read_bytes(), file


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(models, files, teacher, unbroken, tmp_path):
    distributed.run_on(2, [settings(models, files, tmp_path / "two", teacher)], tmp_path)
    distributed.assert_alike(unbroken, tmp_path / "two")


def test_what_cannot_teach_is_refused_before_any_work(models, files, teacher, tokenizer, tmp_path):
    out = tmp_path / "run"

    def refused(fault: str, folder: Path = teacher, **changes: Any) -> None:
        with pytest.raises(UserError, match=fault):
            finetune(settings(models, files, out, folder, **changes), quiet=True)
        assert not out.exists()

    refused("holds no task.json", models["bert"])
    refused("does not exist|there is no", tmp_path / "nothing")
    refused("was fine-tuned for classification, not for regression", task=RegressionOptions())
    copy = shutil.copytree(teacher, tmp_path / "copy")
    tiny.make_tokenizer("unigram").save(copy)
    refused("copy has another tokenizer than .*bert", copy)
    other = SequenceClassifier(tiny.shape("bert", tokenizer), ("bird", "fish"))
    task = Classification(labels=("bird", "fish"), max_length=32)
    write_folder(tmp_path / "other", task, other, tokenizer)
    refused("'beast' of the training examples is not among those of .*other", tmp_path / "other")
    short = SequenceClassifier(
        replace(tiny.shape("bert", tokenizer), max_position_embeddings=24), ("bird", "beast")
    )
    task = Classification(labels=("bird", "beast"), max_length=24)
    write_folder(tmp_path / "short", task, short, tokenizer)
    refused("max_length 32 is more than the 24 positions of the teacher", tmp_path / "short")
    with pytest.raises(UserError, match="a teacher needs epochs"):
        settings(models, files, out, teacher, epochs=0.0)


def test_options_without_a_sense_are_refused():
    for given, fault in (
        ({"teacher_hidden": 1.0}, "teacher_hidden is for distillation: give the folder"),
        ({"teacher": (Path("a"),), "teacher_weight": 0.0}, "the teacher teaches nothing"),
        ({"teacher": (Path("a"), Path("b")), "teacher_hidden": 1.0}, "give one teacher"),
        ({"teacher": (Path("a"),), "teacher_temperature": 0.5}, "must be at least 1"),
    ):
        with pytest.raises(UserError, match=fault):
            DistillationOptions(**given)
