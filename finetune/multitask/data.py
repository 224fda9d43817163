"""Read the data of each task, and compute the losses and scores of several tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from plainformer.base import UserError, plural
from plainformer.base.say import say
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.leakage import Overlap
from plainformer.finetune.fit import tune_and_score
from plainformer.finetune.length import with_length
from plainformer.finetune.losses.class_imbalance import oversample
from plainformer.finetune.metrics import Metric
from plainformer.finetune.multitask.config import TasksConfig
from plainformer.finetune.multitask.several_heads import SeveralHeads
from plainformer.finetune.prediction.predictor import MeanLoss, encode_all
from plainformer.finetune.robust import RobustOptions, robust_objective
from plainformer.finetune.run import read_task, refuse_model_folder, report_leakage
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_options import balance_of, contrastive_of
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, TrainingObjective
from plainformer.training.objective import yields_losses


def settings_of(config: TasksConfig, sections: Mapping[str, Any]) -> dict[str, FinetuneConfig]:
    """Return the settings of each task; raise `UserError` for those that cannot be trained with."""
    settings = {name: config.of_task(name, section) for name, section in sections.items()}
    for name, one in settings.items():
        refuse_model_folder(replace(one, out=config.out))
        if contrastive_of(one.task):
            raise UserError(
                f"{config.tasks}: [{name}]: contrastive trains a model of its own: use finetune"
            )
    return {name: with_length(one) for name, one in settings.items()}


@dataclass(frozen=True)
class TaskData:
    """A task with the items that it is trained and evaluated on."""

    config: FinetuneConfig
    """The settings of `finetune` for this task alone."""
    task: AnyTask
    tokenizer: Tokenizer
    items: list[Item]
    held_out: list[tuple[Any, Item]]

    @classmethod
    def read(cls, config: FinetuneConfig, quiet: bool) -> "TaskData":
        """Read the examples of a task and encode them; print what is odd about them."""
        task, examples, held_out = read_task(config, quiet)
        tokenizer = task.tokenizer(config.model)
        items = [item for _, item in encode_all(task, tokenizer, examples)]
        if num_cut := sum(item.is_cut for item in items):
            cut = plural(num_cut, "training text is", "training texts are")
            say([f"{cut} cut to {task.max_length} tokens"], quiet)
        if balance_of(config.task) == "sampling":
            items = [items[index] for index in oversample([e.category for e in examples])]
        report_leakage(Overlap(lambda: examples), held_out, quiet)
        return cls(config, task, tokenizer, items, list(encode_all(task, tokenizer, held_out)))

    def score(self, model: PretrainedModel, loss: MeanLoss) -> tuple[AnyTask, Metric]:
        """Measure the model of this task; return the task with tuned thresholds, and its metric."""
        return tune_and_score(self.task, model, self.held_out, self.config.select, loss)


@dataclass(frozen=True)
class TaskBatch:
    """A batch of one of several tasks."""

    task: str
    batch: Batch[Any]

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens."""
        return self.batch.num_tokens

    def to(self, device: torch.device) -> "TaskBatch":
        """Return the same batch on `device`."""
        return TaskBatch(self.task, self.batch.to(device))


def several_objective(
    tasks: Mapping[str, AnyTask], options: RobustOptions
) -> TrainingObjective[SeveralHeads, TaskBatch]:
    """Return the objective that is the one of the batch's task, whose name its metrics bear.

    It yields losses, as an objective of several passes does: gradients are then averaged over the
    processes without those of the heads that the batch does not use.
    """
    objectives = {name: robust_objective(task, options) for name, task in tasks.items()}

    def objective(model: SeveralHeads, batch: TaskBatch) -> Iterator[Loss]:
        of_task, name = objectives[batch.task], batch.task
        found: Any = of_task(model.tasks[name], batch.batch)
        for loss in found if yields_losses(of_task) else [found]:
            metrics = {"loss": loss.total.detach(), **loss.metrics}
            yield loss._replace(metrics={f"{name}/{key}": v for key, v in metrics.items()})

    return objective
