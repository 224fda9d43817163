"""Make the objective of training from a task.

    objective = task_objective(task)             model, batch -> Loss
    objective = rdrop(objective, weight=1.0)     the same, with another loss

An objective of a task also returns the outputs of its forward pass, so that a method can compare
them with those of another pass and add `task.divergence` to the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task import AnyTask
from plainformer.training import Loss

Compute = Callable[[PretrainedModel, Batch[Any]], tuple[Any, Loss]]
"""Model, batch -> the outputs of the task, and the loss."""


@dataclass(frozen=True)
class TaskObjective:
    """An objective for the training loop that knows its task."""

    task: AnyTask
    compute: Compute
    """Compute the outputs and the loss of a batch."""

    def __call__(self, model: PretrainedModel, batch: Batch[Any]) -> Loss:
        """Compute the loss of a batch."""
        return self.compute(model, batch)[1]

    def divergence(
        self, outputs: Any, others: Any, batch: Batch[Any], temperature: float = 1.0
    ) -> Loss:
        """Compute how far `outputs` are from `others`: 0 for an uncounted batch."""
        return counted(self.task.divergence(outputs, others, batch, temperature), batch)


def task_objective(task: AnyTask) -> TaskObjective:
    """Return the objective that is the loss of the task alone."""

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        outputs = task.outputs(model, batch)
        return outputs, counted(task.loss(outputs, batch), batch)

    return TaskObjective(task, compute)
