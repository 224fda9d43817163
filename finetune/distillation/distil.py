"""Distillation: learn what a teacher predicts beside the labels (Hinton et al. 2015).

    loss = (1 − w) L + w T² KL(softmax(z′ / T) ‖ softmax(z / T)) + λ · distance of hidden states

L is the loss of the labels, z are the logits of the student, and z′ those of the teacher for the
same batch (arXiv:1503.02531). T² keeps the gradient of the second term as large as at T = 1; for
large T it is that of the squared difference of the logits. A task that predicts no probabilities
has a squared distance in place of KL, on which T has no effect: its `divergence`. The third term is
in `hidden.py`.

A step costs a forward pass of the teacher more.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.distillation.hidden import add_projection, hidden_distance, hidden_states
from plainformer.finetune.distillation.teacher import Teacher, load_teacher
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


def distil(
    objective: TaskObjective,
    teacher: Teacher,
    weight: float = 0.5,
    temperature: float = 2.0,
    hidden: float = 0.0,
) -> TaskObjective:
    """Mix the loss with the divergence from `teacher` ("soft") and that of states ("hidden")."""
    task = objective.task

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        others, taught = teacher(batch, temperature, with_states=hidden > 0)
        with hidden_states(model if hidden else None) as states:
            outputs, hard = objective.compute(model, batch)
        soft = objective.divergence(outputs, others, batch, temperature).total
        total = (1 - weight) * hard.total + weight * temperature**2 * soft
        metrics = {**hard.metrics, "hard": hard.total.detach(), "soft": soft.detach()}
        if hidden:
            counts = task.item_counts(batch)
            apart = hidden_distance(model, states, taught, counts, batch)
            apart = counted(Loss(apart, sum(counts)), batch).total
            total = total + hidden * apart
            metrics["hidden"] = apart.detach()
        return outputs, Loss(total, hard.items, metrics)

    return TaskObjective(task, compute)


def distillation(
    task: AnyTask, model: PretrainedModel, config: "FinetuneConfig"
) -> Callable[[TaskObjective], TaskObjective]:
    """Return the distillation that the options choose; without a teacher it changes nothing.

    A projection is added to `model` where the hidden states need one. Raises `UserError` for a
    teacher that does not fit (see `load_teacher`).
    """
    options = config.distillation
    if not options.teacher:
        return lambda objective: objective
    teacher = load_teacher(options.teacher, task, config)
    if options.teacher_hidden:
        add_projection(model, teacher.model.config.hidden_size, config.training.seed)
    return lambda objective: distil(
        objective,
        teacher,
        options.teacher_weight,
        options.teacher_temperature,
        options.teacher_hidden,
    )
