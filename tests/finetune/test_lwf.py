"""Learning without forgetting: against KL by hand, with the logits of the old and the new heads."""

import copy
from dataclasses import replace

import torch

from plainformer.encoder import SequenceClassifier
from plainformer.finetune.continual import lwf
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.multitask import SeveralHeads
from plainformer.finetune.multitask.data import TaskBatch, several_objective
from plainformer.finetune.robust import RobustOptions
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.regression import Regression
from tests.encoder.tools import randomise
from tests.finetune import gradients

TASKS = {
    "old": Classification(labels=("x", "y"), max_length=16),
    "older": Regression(max_length=16),
    "new": gradients.TASK,
}
EARLIER = {name: TASKS[name] for name in ("old", "older")}
OBJECTIVE = several_objective(TASKS, RobustOptions())


def heads() -> tuple[SeveralHeads, SeveralHeads]:
    """A model of three heads, and as it was before all of its weights moved."""
    new = gradients.classifier()
    made = {
        "old": SequenceClassifier(new.config, ("x", "y")),
        "older": SequenceClassifier(new.config, ("z",)),
        "new": new,
    }
    model = SeveralHeads({name: one.double() for name, one in made.items()})
    torch.manual_seed(1)
    randomise(model)
    old = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.train(), old


def test_lwf_is_its_formula():
    model, old = heads()
    batch = gradients.batch_of()
    objective = lwf(OBJECTIVE, EARLIER, old, weight=0.7)
    ours = gradients.gradients(model, objective, TaskBatch("new", batch))

    def logits(of, name):
        return batch.in_order(
            of.tasks[name](batch.input_ids, None, batch.token_type_ids, batch.sequences)
        )

    log_p, log_q = ((logits(of, "old") / 2).log_softmax(-1) for of in (old, model))
    kl = 2**2 * (log_p.exp() * (log_p - log_q)).sum()
    distance = (logits(old, "older") - logits(model, "older")).square().sum()
    assert kl > 1e-3 and distance > 1e-3
    labels = batch.first(batch.targets)
    plain = -logits(model, "new").log_softmax(-1)[torch.arange(3), labels].sum()
    gradients.assert_same(ours, gradients.of_tensor(model, plain + 0.7 * (kl + distance)))


def test_replayed_and_uncounted_batches_have_no_divergence():
    model, old = heads()
    objective = lwf(OBJECTIVE, EARLIER, old)
    items = gradients.items(replace(TASKS["old"], labels=("a", "b", "c")))[:2]
    replayed = TaskBatch("old", Batch.of(items))
    plain = gradients.gradients(model, OBJECTIVE, replayed)
    gradients.assert_same(gradients.gradients(model, objective, replayed), plain)
    none = TaskBatch("new", Uncounted.of(gradients.items()))
    losses = list(gradients.losses_of(model, objective, none))
    assert len(losses) == 3 and not any(loss.items or loss.total.item() for loss in losses)
