"""Train so that no group of examples is served worse: objectives around that of a task.

    objective = reweight(task_objective(task), cell_weights([cell(i) for i in items]))

`fair_objective` nests what the options choose, inside distillation and what `finetune.robust` adds:
the loss of the task, weighed by group; the adversary.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Item
from plainformer.finetune.fair.adversarial import NAME as ADVERSARY
from plainformer.finetune.fair.adversarial import add_adversary, adversarial
from plainformer.finetune.fair.cells import cell, shares_of
from plainformer.finetune.fair.dro import NAME as WEIGHTS
from plainformer.finetune.fair.dro import GroupWeights, group_dro, update_weights
from plainformer.finetune.fair.options import FairOptions
from plainformer.finetune.fair.reweight import cell_weights, reweight
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_objective import TaskObjective

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

__all__ = [
    "FairOptions",
    "GroupWeights",
    "add_adversary",
    "adversarial",
    "cell",
    "cell_weights",
    "fair_objective",
    "group_dro",
    "remove_fair",
    "reweight",
    "shares_of",
    "update_weights",
]


def fair_objective(
    task: AnyTask, model: PretrainedModel, items: Sequence[Item], config: "FinetuneConfig"
) -> Callable[[TaskObjective], TaskObjective]:
    """Return what the options do to the objective of `task`; without them it changes nothing.

    The state of a method becomes a module of `model`: see `remove_fair`.
    """
    options = config.fair
    if options.group_dro:
        model.add_module(WEIGHTS, GroupWeights(shares_of(task, items), options.group_dro))
    if options.group_adversarial:
        add_adversary(model, items, config.training.seed)

    def fair(objective: TaskObjective) -> TaskObjective:
        if options.group_reweight:
            objective = reweight(objective, cell_weights([cell(item) for item in items]))
        if options.group_dro:
            objective = group_dro(objective)
        if options.group_adversarial:
            objective = adversarial(objective, options.group_adversarial)
        return objective

    return fair


def remove_fair(model: PretrainedModel) -> None:
    """Remove the modules that `fair_objective` added to a model."""
    for name in {WEIGHTS, ADVERSARY} & dict(model.named_children()).keys():
        delattr(model, name)
