"""Perturbed embeddings: against the formulas, written out text by text."""

from functools import partial

import pytest
import torch

from plainformer.encoder import Sequences
from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.robust import fgm, freelb, pgd
from plainformer.finetune.robust.perturbation import direction, norms, project
from plainformer.finetune.task_objective import task_objective
from tests.finetune import gradients
from tests.finetune.gradients import TASK, ascent, assert_same, batch_of, classifier, loss_at

ARCHITECTURES = pytest.mark.parametrize("architecture", ["bert", "modern"])
SEQUENCES = Sequences.of([1, 3, 3, 6])


def zeros(model, batch):
    size = model.config.hidden_size
    return [torch.zeros(item.num_tokens, size, dtype=torch.float64) for item in batch.items]


def test_norms_are_those_of_each_sequence():
    x = torch.randn(13, 5, dtype=torch.float64)
    x[:1] = 0
    parts = x.split(SEQUENCES.lengths)
    wanted = torch.cat([torch.linalg.norm(part).expand(len(part)) for part in parts])
    torch.testing.assert_close(norms(x, SEQUENCES)[:, 0], wanted)
    units = direction(x, SEQUENCES).split(SEQUENCES.lengths)
    for part, unit in zip(parts[1:], units[1:], strict=True):
        torch.testing.assert_close(unit, part / torch.linalg.norm(part))
    assert not direction(x, SEQUENCES)[0].any()  # and no NaN


def test_what_is_projected_is_the_nearest_point_of_the_ball():
    x = torch.randn(13, 5, dtype=torch.float64)
    bound = float(norms(x, SEQUENCES).median())
    inside = (norms(x, SEQUENCES) <= bound)[:, 0]
    found = project(x, SEQUENCES, bound)
    assert 0 < inside.sum() < 13 and torch.equal(found[inside], x[inside])
    torch.testing.assert_close(found[~inside], bound * direction(x, SEQUENCES)[~inside])
    assert not project(torch.zeros(13, 5), SEQUENCES, 1.0).any()


@ARCHITECTURES
def test_fgm_is_its_formula(architecture):
    model, batch = classifier(architecture), batch_of()
    ours = gradients.gradients(model, fgm(task_objective(TASK), 0.7), batch)
    loss, none = partial(loss_at, model, batch), zeros(model, batch)
    worse = [0.7 * step for step in ascent(loss, none)]
    clean, adversarial = loss(none), loss(worse)
    assert adversarial > clean + 0.01
    assert_same(ours, gradients.of_tensor(model, clean + adversarial))


@ARCHITECTURES
@pytest.mark.parametrize("rate", [None, 0.2])
def test_pgd_is_its_formula(architecture, rate):
    model, batch = classifier(architecture), batch_of()
    ours = gradients.gradients(model, pgd(task_objective(TASK), 0.7, 3, rate), batch)
    loss, deltas = partial(loss_at, model, batch), zeros(model, batch)
    clean = loss(deltas)
    for _ in range(3):
        length = rate or 2.5 * 0.7 / 3
        moved = [d + length * s for d, s in zip(deltas, ascent(loss, deltas), strict=True)]
        deltas = [d * min(1.0, 0.7 / float(torch.linalg.norm(d))) for d in moved]
    size = min(0.7, 3 * (rate or 1))
    assert all(0.9 * size < torch.linalg.norm(d) < 0.7001 for d in deltas)
    assert_same(ours, gradients.of_tensor(model, clean + loss(deltas)))


def test_one_step_of_pgd_as_long_as_the_bound_is_fgm():
    model, batch = classifier(), batch_of()
    objective = task_objective(TASK)
    one = gradients.gradients(model, pgd(objective, 0.5, steps=1, step_size=0.5), batch)
    assert_same(one, gradients.gradients(model, fgm(objective, 0.5), batch))


@ARCHITECTURES
def test_freelb_is_its_formula(architecture):
    model, batch = classifier(architecture), batch_of()
    torch.manual_seed(3)
    ours = gradients.gradients(model, freelb(task_objective(TASK), 0.7, 2, 0.5), batch)
    torch.manual_seed(3)
    noise = 0.7 * torch.zeros(batch.num_tokens, model.config.hidden_size).uniform_(-1, 1)
    loss = partial(loss_at, model, batch)
    deltas = [(x / x.numel() ** 0.5).double() for (x,) in batch.split(noise)]
    assert all(0.3 < torch.linalg.norm(delta) < 0.5 for delta in deltas)
    total = loss(deltas) / 2
    moved = [d + 0.5 * s for d, s in zip(deltas, ascent(loss, deltas), strict=True)]
    deltas = [d * min(1.0, 0.7 / float(torch.linalg.norm(d))) for d in moved]
    assert_same(ours, gradients.of_tensor(model, total + loss(deltas) / 2))


def test_freelb_has_the_same_dropout_in_each_pass():
    """With an ascent that moves nothing all losses are equal; in FGM they are not."""
    model, batch = classifier(dropout=0.3), batch_of()
    objective = task_objective(TASK)
    losses = list(gradients.losses_of(model, freelb(objective, 1e-9, 3, 1e-9), batch))
    first, second, third = (loss.total.item() for loss in losses)
    assert first == pytest.approx(second, rel=1e-6) == pytest.approx(third, rel=1e-6)
    assert [loss.items for loss in losses] == [3, 0, 0]
    one, other = (
        loss.total.item() for loss in gradients.losses_of(model, fgm(objective, 1e-9), batch)
    )
    assert one != pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("method", [fgm, pgd])
def test_what_is_perturbed_is_counted_once(method):
    model, batch = classifier(), batch_of()
    losses = list(gradients.losses_of(model, method(task_objective(TASK)), batch))
    assert [loss.items for loss in losses] == [3, 0]
    assert losses[0].metrics.keys() == {"accuracy"} and not losses[1].metrics


@pytest.mark.parametrize("method", [fgm, pgd, freelb])
def test_an_uncounted_batch_has_no_gradient(method):
    model = classifier()
    batch = Uncounted.of(gradients.items())
    total, found = gradients.gradients(model, method(task_objective(TASK)), batch)
    assert total == 0 and not any(gradient.any() for gradient in found.values())
