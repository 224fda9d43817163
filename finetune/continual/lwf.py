"""Learning without forgetting (LwF): earlier heads keep their answers (Li and Hoiem 2016).

    loss + λ T² Σₖ D(oₖ(x), oₖ'(x); T)        D = KL(softmax(o' / T) ‖ softmax(o / T)),   T = 2

x are the texts of the new task, oₖ the outputs of the head of an earlier task k for them, and oₖ'
those of the model before the new task, without dropout (arXiv:1606.09282, eq. 3 to 5: there the
cross-entropy, which has the same gradient, without T², which keeps its scale at any T). No example
of an earlier task is needed. Gradients flow into the encoder and into all heads. A task that
predicts no probabilities has a distance in place of KL: its `divergence`.

An earlier head reads the texts as the new task encodes them, so it must answer for a text as a
whole, as a classifier does and a tagger does not. D is summed over the texts, and divided by what
the new task counts: texts, or words in tagging.

A step costs a forward and a backward pass for each earlier task, and a forward pass of the old
model for each.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from plainformer.finetune.micro_batches import counted
from plainformer.finetune.multitask import SeveralHeads
from plainformer.finetune.multitask.data import TaskBatch
from plainformer.finetune.task import AnyTask
from plainformer.training import Loss, TrainingObjective
from plainformer.training.objective import yields_losses


def lwf(
    objective: TrainingObjective[SeveralHeads, TaskBatch],
    tasks: Mapping[str, AnyTask],
    old: SeveralHeads,
    weight: float = 1.0,
    temperature: float = 2.0,
) -> TrainingObjective[SeveralHeads, TaskBatch]:
    """Add `weight` times the divergence of the heads of earlier `tasks` from those of `old`.

    A batch of an earlier task has the plain loss.
    """

    def with_divergence(model: SeveralHeads, batch: TaskBatch) -> Iterator[Loss]:
        found: Any = objective(model, batch)
        yield from found if yields_losses(objective) else [found]
        if batch.task in tasks:
            return
        for name, task in tasks.items():
            with torch.no_grad():
                targets = task.outputs(old.tasks[name], batch.batch)
            answers = task.outputs(model.tasks[name], batch.batch)
            loss = counted(task.divergence(answers, targets, batch.batch, temperature), batch.batch)
            total = temperature**2 * loss.total
            yield Loss(weight * total, 0, {f"{name}/lwf": total.detach()})

    return with_divergence
