"""R-Drop: two passes with other dropout shall agree (Liang et al. 2021, arXiv:2106.14448).

    loss = ½ (L₁ + L₂) + α · ½ (KL(p₁ ‖ p₂) + KL(p₂ ‖ p₁))

p₁ and p₂ are the predictions of the same batch in two passes, whose dropout differs, and L₁ and L₂
their losses (eq. 1 to 3; the mean of L₁ and L₂, as in the authors' code, keeps the scale of plain
training). Gradients flow into both passes. A task that predicts no probabilities has a distance in
place of KL: its `divergence`.

A step costs two forward passes and a backward pass through both.
"""

from typing import Any

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss


def rdrop(objective: TaskObjective, weight: float = 1.0) -> TaskObjective:
    """Average the loss of two passes, and add `weight` times their divergence ("rdrop")."""

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        first, one = objective.compute(model, batch)
        second, two = objective.compute(model, batch)
        there = objective.divergence(first, second, batch).total
        back = objective.divergence(second, first, batch).total
        divergence = (there + back) / 2
        metrics = {name: (value + two.metrics[name]) / 2 for name, value in one.metrics.items()}
        total = (one.total + two.total) / 2 + weight * divergence
        return first, Loss(total, one.items, {**metrics, "rdrop": divergence.detach()})

    return TaskObjective(objective.task, compute)
