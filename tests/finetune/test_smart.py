"""SMART: against its formula, written out text by text."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.robust import smart
from plainformer.finetune.robust.smart import largest_is_one
from plainformer.finetune.task_objective import task_objective
from tests.finetune import gradients
from tests.finetune.gradients import TASK, batch_of, classifier, logits_at


def symmetric(one: Tensor, other: Tensor) -> Tensor:
    """The sum of both KL divergences."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    there = kl_div(p, q, log_target=True, reduction="sum")
    return there + kl_div(q, p, log_target=True, reduction="sum")


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_smart_is_its_formula(architecture):
    model, batch = classifier(architecture), batch_of()
    torch.manual_seed(5)
    ours = gradients.gradients(model, smart(task_objective(TASK), 1.7, 0.02), batch)
    torch.manual_seed(5)
    noise = torch.zeros(batch.num_tokens, model.config.hidden_size).normal_(0, 0.002).double()
    total, smoothness = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for item, (delta,) in zip(batch.items, batch.split(noise), strict=True):
        clean = logits_at(model, item, torch.zeros_like(delta))
        delta.requires_grad_()
        found = symmetric(logits_at(model, item, delta), clean.detach())
        (gradient,) = torch.autograd.grad(found, delta)
        worst = delta.detach() + 0.02 * gradient / gradient.abs().max()
        worst = worst.minimum(torch.tensor(0.02)).maximum(torch.tensor(-0.02))
        now = symmetric(logits_at(model, item, worst), clean)
        assert now > 10 * found
        smoothness = smoothness + now
        target = torch.from_numpy(item.targets[0])
        total = total + torch.nn.functional.cross_entropy(clean, target)
    theirs = gradients.of_tensor(model, total + 1.7 * smoothness)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for name, gradient in ours[1].items():  # the tiny first D is rounded to float32
        torch.testing.assert_close(gradient, theirs[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_dropout_alone_is_no_divergence():
    model, batch = classifier(dropout=0.3), batch_of()
    (loss,) = gradients.losses_of(model, smart(task_objective(TASK), 1.0, 1e-6), batch)
    assert 0 <= float(loss.metrics["smart"]) < 1e-6
    (loss,) = gradients.losses_of(model, smart(task_objective(TASK), 1.0, 0.1), batch)
    assert float(loss.metrics["smart"]) > 1e-3


def test_an_uncounted_batch_has_no_gradient():
    model, batch = classifier(), Uncounted.of(gradients.items())
    total, found = gradients.gradients(model, smart(task_objective(TASK)), batch)
    assert total == 0 and not any(gradient.any() for gradient in found.values())


def test_the_largest_entry_of_each_sequence_is_1():
    sequences = batch_of().sequences
    x = torch.randn(len(sequences.positions), 4)
    x[sequences.sequence_ids == 1] = 0
    parts = largest_is_one(x, sequences).split(sequences.lengths)
    assert [part.abs().max().item() for part in parts] == [1, 0, 1]
    torch.testing.assert_close(
        parts[0] * x.split(sequences.lengths)[0].abs().max(), x[: len(parts[0])]
    )
