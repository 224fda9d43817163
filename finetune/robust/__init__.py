"""Train robustly: objectives around the objective of a task.

    objective = fgm(rdrop(task_objective(task), weight=1.0), epsilon=1.0)

`robust_objective` nests what the options choose, in this order from the inside out: the loss of the
task, or mixup; what weighs groups (`finetune.fair`); distillation; R-Drop; SMART; one of FGM, PGD
and FreeLB. `weight_in_average` chooses EMA or SWA.
"""

from collections.abc import Callable
from typing import Any

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust.averaging import StepWeight, ema, swa
from plainformer.finetune.robust.fgm import fgm
from plainformer.finetune.robust.freelb import freelb
from plainformer.finetune.robust.l2_sp import PullToStart
from plainformer.finetune.robust.mixup import mixup
from plainformer.finetune.robust.options import RobustOptions
from plainformer.finetune.robust.pgd import pgd
from plainformer.finetune.robust.rdrop import rdrop
from plainformer.finetune.robust.reinit import reinit_layers
from plainformer.finetune.robust.smart import smart
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_objective import TaskObjective, task_objective
from plainformer.finetune.tasks.sequence import SequenceTask
from plainformer.training import TrainingObjective

__all__ = [
    "PullToStart",
    "RobustOptions",
    "ema",
    "fgm",
    "freelb",
    "mixup",
    "pgd",
    "rdrop",
    "reinit_layers",
    "robust_objective",
    "smart",
    "swa",
    "weight_in_average",
]


def robust_objective(
    task: AnyTask,
    options: RobustOptions,
    inner: Callable[[TaskObjective], TaskObjective] = lambda objective: objective,
) -> TrainingObjective[PretrainedModel, Batch[Any]]:
    """Nest the chosen methods around the loss of `task`; `inner` does to it what comes first."""
    objective = task_objective(task)
    if options.mixup:
        assert isinstance(task, SequenceTask)
        objective = mixup(task, options.mixup)
    objective = inner(objective)
    if options.rdrop:
        objective = rdrop(objective, options.rdrop)
    if options.smart:
        objective = smart(objective, options.smart)
    ascent = options.ascent_steps, options.ascent_rate or None
    if options.fgm:
        return fgm(objective, options.fgm)
    if options.pgd:
        return pgd(objective, options.pgd, *ascent)
    if options.freelb:
        return freelb(objective, options.freelb, *ascent)
    return objective


def weight_in_average(options: RobustOptions, steps: int) -> StepWeight | None:
    """Return how much each of the `steps` weighs in the average of the weights, if there is one."""
    if options.ema:
        return ema(options.ema)
    return swa(options.swa, steps) if options.swa else None
