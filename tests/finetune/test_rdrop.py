"""R-Drop: against its formula, with the logits of two passes."""

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.robust import rdrop
from plainformer.finetune.task_objective import task_objective
from tests.finetune import gradients
from tests.finetune.gradients import TASK, batch_of, classifier


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_rdrop_is_its_formula(architecture):
    model, batch = classifier(architecture, dropout=0.3), batch_of()
    torch.manual_seed(5)
    ours = gradients.gradients(model, rdrop(task_objective(TASK), 1.7), batch)
    torch.manual_seed(5)
    p, q = (TASK.outputs(model, batch) for _ in range(2))
    labels = batch.first(batch.targets)
    losses = [cross_entropy(x, labels, reduction="sum") for x in (p, q)]
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    divergence = sum(
        kl_div(one, other, log_target=True, reduction="sum") for one, other in ((p, q), (q, p))
    )
    assert divergence > 0.01
    wanted = (losses[0] + losses[1]) / 2 + 1.7 * divergence / 2
    gradients.assert_same(ours, gradients.of_tensor(model, wanted))


def test_without_dropout_it_is_the_plain_loss():
    model, batch = classifier(), batch_of()
    plain = gradients.gradients(model, task_objective(TASK), batch)
    gradients.assert_same(gradients.gradients(model, rdrop(task_objective(TASK)), batch), plain)


def test_metrics_are_means_and_an_uncounted_batch_has_none():
    model = classifier(dropout=0.3)
    (loss,) = gradients.losses_of(model, rdrop(task_objective(TASK)), batch_of())
    assert loss.items == 3 and loss.metrics.keys() == {"accuracy", "rdrop"}
    assert 0 <= float(loss.metrics["accuracy"]) <= 3 and float(loss.metrics["rdrop"]) > 0
    none = Uncounted.of(gradients.items())
    (loss,) = gradients.losses_of(model, rdrop(task_objective(TASK)), none)
    assert loss.items == 0 and not loss.total.item() and not any(map(float, loss.metrics.values()))
