"""Fairness in training: weights, group DRO and the adversary against their formulas."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.fair import (
    GroupWeights,
    add_adversary,
    adversarial,
    cell_weights,
    group_dro,
    remove_fair,
    reweight,
    shares_of,
    update_weights,
)
from plainformer.finetune.fair.adversarial import Adversary
from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.task_objective import task_objective
from tests.finetune import gradients
from tests.finetune.gradients import TASK, classifier
from tests.finetune.test_robust_tasks import TASKS, ready

CELLS = (("x", "a"), ("y", "b"), ("x", "b"))
WEIGHTS = dict(zip(CELLS, (0.5, 3.0, 1.7), strict=True))


def grouped(items: list[Any]) -> list[Any]:
    """Give the items the groups and labels of `CELLS`, in turns."""
    cells = [CELLS[number % 3] for number in range(len(items))]
    return [replace(i, group=g, category=y) for i, (g, y) in zip(items, cells, strict=True)]


def test_weights_make_group_and_label_independent() -> None:
    rng = np.random.default_rng(0)
    cells = [(str(g), "ab"[int(g) * int(rng.random() < 0.8)]) for g in rng.integers(0, 2, 400)]
    weights, pairs, n = cell_weights(cells), Counter(cells), len(cells)
    groups, labels = Counter(g for g, _ in cells), Counter(y for _, y in cells)
    assert set(weights) == set(pairs) and max(weights.values()) > 1.2
    for g, y in pairs:
        share = sum(weights[cell] for cell in cells if cell == (g, y)) / n
        within = sum(weights[cell] for cell in cells if cell[0] == g) / n
        wanted = groups[g] / n * labels[y] / n
        assert weights[g, y] == pytest.approx(wanted / (pairs[g, y] / n), rel=1e-12)
        if len({y for group, y in pairs if group == g}) == 2:
            assert share == pytest.approx(wanted, rel=1e-12)
            assert within == pytest.approx(groups[g] / n, rel=1e-12)


def test_without_one_label_all_groups_weigh_the_same() -> None:
    weights = cell_weights([("x", None)] * 6 + [("y", None)] * 2 + [("z", None)])
    assert weights == {("x", None): 0.5, ("y", None): 1.5, ("z", None): 3.0}


@pytest.mark.parametrize("name", TASKS)
def test_reweighting_is_the_weighted_sum_of_the_items_losses(name: str) -> None:
    task, model, items = ready(name, 0.0)
    items = grouped(items)
    plain = task_objective(task)
    ours = gradients.gradients(model, reweight(plain, WEIGHTS), Batch.of(items))
    total, sums = 0.0, dict[str, Tensor]()
    for item in items:
        weight = WEIGHTS[item.group, item.category]
        loss, found = gradients.gradients(model, plain, Batch.of([item]))
        total += weight * loss
        for key, gradient in found.items():
            sums[key] = sums.get(key, 0) + weight * gradient
    assert ours[0] == pytest.approx(total, rel=1e-6)
    for key, gradient in ours[1].items():
        torch.testing.assert_close(gradient, sums[key], rtol=1e-4, atol=1e-4, msg=key)
    loss = reweight(plain, WEIGHTS)(model, Batch.of(items))
    assert loss.items == plain(model, Batch.of(items)).items


def test_group_dro_is_its_algorithm() -> None:
    """Three steps of two micro-batches, beside the sums of the texts, each alone."""
    model, items = classifier(), grouped(gradients.items(count=10))
    shares = shares_of(TASK, items)
    assert shares == pytest.approx({CELLS[0]: 0.4, CELLS[1]: 0.3, CELLS[2]: 0.3})
    rate, q = 0.7, dict.fromkeys(shares, 1 / 3)
    model.add_module("group_weights", GroupWeights(shares, rate))
    model.double()
    objective = group_dro(task_objective(TASK))
    for step, chosen in enumerate(([0, 1, 2, 3], [4, 5, 7, 8], [6, 9])):  # the last: of one cell
        batch = [items[i] for i in chosen]
        losses = [task_objective(TASK)(model, Batch.of([item])).total for item in batch]
        wanted = sum(
            q[i.group, i.category] / shares[i.group, i.category] * loss
            for i, loss in zip(batch, losses, strict=True)
        )
        found = gradients.of_tensor(model, wanted)
        parts = [gradients.gradients(model, objective, Batch.of(b)) for b in (batch[:1], batch[1:])]
        added = {name: parts[0][1][name] + parts[1][1][name] for name in found[1]}
        gradients.assert_same((parts[0][0] + parts[1][0], added), found)
        update_weights(model, step + 1)
        grown = {
            key: q[key]
            * math.exp(
                rate
                * sum(
                    loss.item()
                    for i, loss in zip(batch, losses, strict=True)
                    if (i.group, i.category) == key
                )
                / (shares[key] * len(batch))
            )
            for key in q
        }
        q = {key: value / sum(grown.values()) for key, value in grown.items()}
        weights = model.get_buffer("group_weights.weights")
        assert weights.tolist() == pytest.approx(list(q.values()), rel=1e-6)
    assert max(q.values()) > 0.5


def test_group_dro_goes_to_the_cell_that_is_learned_worst() -> None:
    """The estimate of a cell's loss is unbiased however rare it is in the batches."""
    weights = GroupWeights({("x", None): 0.9, ("y", None): 0.1}, rate=0.01)
    of_x = task_objective(TASK)(classifier(), gradients.batch_of(count=1))
    for _ in range(100):
        weights.add({("x", None): of_x._replace(total=torch.tensor(9 * 0.5), items=9)})
        weights.add({("y", None): of_x._replace(total=torch.tensor(1 * 2.0), items=1)})
        weights.update()
    odds = weights.weights[1] / weights.weights[0]
    assert float(odds) == pytest.approx(math.exp(100 * 0.01 * (2.0 - 0.5)), rel=1e-4)
    before = weights.weights.clone()
    weights.add({("y", None): of_x._replace(total=torch.tensor(math.inf), items=1)})
    weights.update()
    assert torch.equal(weights.weights, before)


def test_weights_do_not_follow_a_batch_that_is_not_trained_on() -> None:
    model, batch = classifier(), Batch.of(grouped(gradients.items()))
    model.add_module("group_weights", GroupWeights(shares_of(TASK, list(batch.items)), 1.0))
    objective = group_dro(task_objective(TASK))
    objective(model.eval(), batch)
    none = objective(model.train(), Uncounted.of(list(batch.items)))
    assert none.items == 0 and none.total.item() == 0
    update_weights(model, 1)
    assert model.get_buffer("group_weights.weights").tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("name", TASKS)
def test_the_encoder_and_the_adversary_learn_against_each_other(name: str) -> None:
    """The gradients are those of the texts, each alone; only the encoder's depend on λ."""
    task, model, items = ready(name, 0.0)
    items = grouped(items)
    add_adversary(model, items, seed=0)
    model.double()
    plain, batch = task_objective(task), Batch.of(items)
    _, of_task = gradients.gradients(model, plain, batch)
    _, idle = gradients.gradients(model, adversarial(plain, 0.0), batch)
    total, found = gradients.gradients(model, adversarial(plain, 3.0), batch)
    alone = [gradients.gradients(model, adversarial(plain, 3.0), Batch.of([i])) for i in items]
    assert total == pytest.approx(sum(loss for loss, _ in alone), rel=1e-5)
    moved = 0.0
    for key, gradient in found.items():
        each = sum(grads.get(key, torch.zeros_like(gradient)) for _, grads in alone)
        torch.testing.assert_close(gradient, each, rtol=1e-4, atol=1e-4, msg=key)
        before = idle[key] if key.startswith("adversary") else of_task[key]
        torch.testing.assert_close(idle[key], before, rtol=1e-6, atol=1e-6, msg=key)
        if key.startswith("adversary"):
            torch.testing.assert_close(gradient, before, rtol=1e-6, atol=1e-6, msg=key)
        moved += 0.0 if key.startswith("adversary") else float((gradient - before).abs().sum())
    assert moved > 0.01
    remove_fair(model)
    assert not any("adversary" in name for name, _ in model.named_parameters())


def test_the_adversary_is_the_min_max_of_its_formulas() -> None:
    """Of what the classifier reads and the label: by hand, with P(g | y) of three texts."""
    model, items = classifier(), grouped(gradients.items())
    add_adversary(model, items, seed=0)
    model.double()
    adversary = model.get_submodule("adversary")
    assert isinstance(adversary, Adversary)
    vectors = []
    for item in items:
        one = Batch.of([item])
        encoded = model.base(one.input_ids, sequences=one.sequences)
        label = torch.eye(2).double()["ab".index(item.category or "")]
        vectors.append(torch.cat([encoded.pooler_output[0], label]))
    x, truth = torch.stack(vectors), torch.tensor([0, 1, 0])  # x, y, x
    hidden = (x @ adversary.hidden.weight.T + adversary.hidden.bias).relu()
    p = (hidden @ adversary.out.weight.T + adversary.out.bias).softmax(-1)
    against = -p[torch.arange(3), truth].log().sum()
    shares = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    apart = torch.special.xlogy(shares, shares).sum() - (shares * p.log()).sum()

    plain, objective = task_objective(TASK), adversarial(task_objective(TASK), 0.3)
    total, found = gradients.gradients(model, objective, Batch.of(items))
    of_task = plain(model, Batch.of(items)).total
    assert total == pytest.approx((of_task + against + 0.3 * apart).item(), rel=1e-6)
    own = {n: w for n, w in model.named_parameters() if not n.startswith("adversary")}
    theirs = torch.autograd.grad(of_task + 0.3 * apart, list(own.values()), retain_graph=True)
    for name, gradient in zip(own, theirs, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-6, msg=name)
    head = dict(adversary.named_parameters())
    for name, gradient in zip(head, torch.autograd.grad(against, list(head.values())), strict=True):
        torch.testing.assert_close(found[f"adversary.{name}"], gradient, rtol=1e-6, atol=1e-6)
    none = objective(model, Uncounted.of(items))
    assert none.items == 0 and none.total.item() == 0


def test_items_bear_their_groups_into_a_batch() -> None:
    batch = Batch.of(grouped(gradients.items(count=4)))
    assert isinstance(batch.items[0], Item)
    some = batch.select([1, 3])
    assert [item.group for item in some.items] == ["y", "x"]
    assert some.sequences.lengths == tuple(sorted(len(i.encodings[0]) for i in some.items))
