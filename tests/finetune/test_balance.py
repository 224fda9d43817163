"""Rare labels: scikit-learn's weights, PyTorch's weighted losses, no threshold better than ours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from plainformer.base import UserError, write_text
from plainformer.finetune import ClassificationOptions, FinetuneConfig, Predictor, finetune
from plainformer.finetune.losses.class_imbalance import (
    best_threshold,
    binary_cross_entropy,
    class_weights,
    cross_entropy,
    oversample,
)
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tasks.classification import ClassExample, Classification, ClassPrediction
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of

NAMES = ("a", "b", "c")
some_labels = st.lists(st.sampled_from(NAMES), min_size=1, max_size=40)


@given(some_labels)
def test_weights_are_scikit_learns(labels) -> None:
    names = sorted(set(labels))
    theirs = compute_class_weight("balanced", classes=np.array(names), y=np.array(labels))
    weights = dict(zip(names, class_weights(labels, names), strict=True))
    assert list(weights.values()) == pytest.approx(list(theirs))
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


def test_the_weighted_loss_over_the_training_set_is_pytorchs() -> None:
    """Loss and gradient, as the loop divides it: by the number of texts."""
    torch.manual_seed(0)
    labels = torch.multinomial(torch.tensor([0.8, 0.15, 0.05]), 300, replacement=True)
    names = [NAMES[i] for i in labels]
    weights = class_weights(names, NAMES)
    ours = torch.randn(300, 3, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    loss = cross_entropy(ours, labels, weights) / len(labels)
    wanted = F.cross_entropy(theirs, labels, weight=torch.tensor(weights).double())
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    loss.backward()
    wanted.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 3.0)])
def test_the_focal_loss_is_its_formula(weights) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 3) * 3, torch.randint(3, (50,))
    total = 0.0
    for row, label in zip(logits.double().numpy(), labels.tolist(), strict=True):
        p = np.exp(row[label]) / np.exp(row).sum()
        total -= (weights[label] if weights else 1) * (1 - p) ** 2 * np.log(p)
    assert cross_entropy(logits, labels, weights, 2.0).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_without_gamma_it_is_cross_entropy_and_sure_answers_have_a_gradient(scale) -> None:
    torch.manual_seed(0)
    logits, labels = (torch.randn(50, 3) * scale).requires_grad_(), torch.randint(3, (50,))
    plain = F.cross_entropy(logits, labels, reduction="sum")
    assert cross_entropy(logits, labels, (1.0,) * 3).item() == pytest.approx(plain.item(), rel=1e-5)
    for gamma in (0.0, 2.0):
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, (1.0,) * 3, gamma), logits)
        assert gradient.isfinite().all()


def test_several_labels_weigh_as_pytorchs_pos_weight() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(20, 3) * 2, torch.randint(2, (20, 3)).float()
    weights = (2.0, 0.5, 9.0)
    wanted = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=torch.tensor(weights))
    loss = binary_cross_entropy(logits, truth, weights) / 20
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    p = torch.where(truth == 1, logits.sigmoid(), 1 - logits.sigmoid())
    focal = binary_cross_entropy(logits, truth, gamma=2.0)
    wanted = (-((1 - p) ** 2) * p.log()).mean(1).sum()
    assert focal.item() == pytest.approx(wanted.item(), rel=1e-5)


@given(some_labels)
def test_oversample_repeats_the_rarer_and_loses_none(labels) -> None:
    places = oversample(labels)
    counts = np.bincount(places, minlength=len(labels))
    assert counts.min() >= 1
    for name in set(labels):
        own = counts[[label == name for label in labels]]
        assert own.sum() == max(map(labels.count, labels))
        assert own.max() - own.min() <= 1
    assert np.array_equal(places, oversample(labels))


def f1(truth: np.ndarray, said: np.ndarray) -> float:
    return 2 * (truth & said).sum() / max(1, truth.sum() + said.sum())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_best(rows) -> None:
    truth = np.array([is_true for is_true, _ in rows])
    probabilities = np.array([step / 10 for _, step in rows])
    chosen = best_threshold(truth, probabilities)
    best = max(f1(truth, probabilities >= step / 20) for step in range(23))
    assert f1(truth, probabilities >= chosen) == best
    if f1(truth, probabilities >= 0.5) == best:
        assert chosen == 0.5


def test_a_threshold_lies_in_the_gap() -> None:
    truth = np.array([True, True, False, False])
    assert best_threshold(truth, np.array([0.4, 0.3, 0.1, 0.05])) == pytest.approx(0.2)
    assert best_threshold(truth, np.array([0.99, 0.95, 0.9, 0.8])) == pytest.approx(0.925)
    assert best_threshold(truth, np.array([0.9, 0.6, 0.4, 0.2])) == 0.5
    assert best_threshold(np.zeros(4, bool), np.array([0.9, 0.6, 0.4, 0.2])) == 0.5


def example(label: str) -> ClassExample:
    return ClassExample(text="t", label=label, source="f.tsv:1")


def config(**changes) -> FinetuneConfig:
    paths = {"model": Path("model"), "train": "t", "valid": "v", "out": Path("out")}
    return config_of(ClassificationOptions, **{**paths, "max_length": 32, **changes})


def test_what_a_task_takes_from_the_training_examples() -> None:
    examples = [example(label) for label in ["ham"] * 6 + ["spam"] * 2]
    task = Classification.fit(config(balance="weights", tune_threshold=True), examples)
    assert task.weights == (8 / 12, 2.0)
    assert task.positive == "spam"
    assert Classification.fit(config(balance="focal"), examples).gamma == 2
    plain = Classification.fit(config(), examples)
    assert (plain.weights, plain.gamma, plain.positive) == ((), 0.0, None)
    with pytest.raises(UserError, match="for two labels, and there are 3"):
        Classification.fit(config(tune_threshold=True), [*examples, example("eggs")])


def test_the_tuned_threshold_decides_the_label() -> None:
    task = Classification(labels=("ham", "spam"), positive="spam", max_length=8)
    results = [
        (example(label), ClassPrediction("ham", {"ham": 1 - p, "spam": p}))
        for label, p in [("ham", 0.1), ("ham", 0.2), ("spam", 0.3), ("spam", 0.4)]
    ]
    tuned = task.tune(results)
    assert tuned.threshold == pytest.approx(0.25)
    rows = np.array([[0.8, 0.2], [0.7, 0.3], [0.2, 0.8]])
    assert [tuned._prediction(row).label for row in rows] == ["ham", "spam", "spam"]
    assert list(tuned._prediction(rows[1]).probabilities) == ["ham", "spam"]
    assert replace(task, positive=None).tune(results).threshold == 0.5


@pytest.fixture
def unbalanced(files, tmp_path) -> str:
    """Twenty beasts for each bird."""
    header, *lines = Path(files("train")).read_text().splitlines()
    beasts = [line for line in lines if line.endswith("beast")]
    birds = [line for line in lines if line.endswith("bird")]
    rows = [header, *beasts, *birds[: len(beasts) // 20]]
    write_text(tmp_path / "train.tsv", "\n".join(rows) + "\n")
    return str(tmp_path / "train.tsv")


def test_sampling_makes_epochs_longer_and_helps_the_rarer(
    unbalanced, models, files, tmp_path
) -> None:
    outcome = finetune(
        config(
            model=models["bert"],
            train=unbalanced,
            valid=files("valid"),
            out=tmp_path / "run",
            balance="sampling",
            tune_threshold=True,
            epochs=4,
            batch_size=16,
            max_length=32,
            training=LoopConfig(learning_rate=3e-3, eval_every=0, checkpoint_every=0),
        ),
        quiet=True,
    )
    beasts = Path(unbalanced).read_text().count("\tbeast")
    assert outcome.result is not None and outcome.result.steps == 4 * -(-2 * beasts // 16)
    assert outcome.metric.per_label["bird"]["f1"] > 0.8
    assert Predictor.load(tmp_path / "run").task.positive == "bird"


def test_a_task_is_kept_with_all_that_it_was_told(tmp_path) -> None:
    task = Classification(
        labels=("ham", "spam"),
        weights=(0.5555555555555556, 5.0),
        gamma=2.0,
        positive="spam",
        threshold=1 / 3,
        max_length=8,
    )
    save_task(task, tmp_path)
    assert load_task(tmp_path) == task
