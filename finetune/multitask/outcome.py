"""The scores of the tasks after training, and the files that hold them with the models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plainformer.base import nan_to_null, write_json
from plainformer.base.figures import save_png
from plainformer.base.say import say
from plainformer.finetune.metrics import Metric, Table
from plainformer.finetune.multitask.config import TasksConfig
from plainformer.finetune.multitask.data import TaskData
from plainformer.finetune.multitask.folder import save_heads
from plainformer.finetune.multitask.several_heads import SeveralHeads
from plainformer.finetune.prediction.predictor import MeanLoss
from plainformer.finetune.report.figures import figures
from plainformer.finetune.run import never_predicted
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tuning import save_adapter
from plainformer.training import Result, full_disk, is_main


@dataclass(frozen=True)
class SeveralOutcome:
    """The result of a run on several tasks."""

    result: Result | None
    """The result of the training loop; None where nothing was trained."""
    metrics: Mapping[str, Metric]
    """The metric of each task's validation examples."""

    @property
    def score(self) -> float:
        """Return the mean of the tasks' main scores."""
        return float(np.mean([metric.main[1] for metric in self.metrics.values()]))

    def table(self) -> Table:
        """Tabulate the main score of each task, and their mean."""
        rows = [(name, *metric.main, metric.count) for name, metric in self.metrics.items()]
        columns = ("task", "judged by", "score", "examples")
        return Table("scores", columns, [*rows, ("mean", "", self.score, "")])


def save_tasks(
    config: TasksConfig,
    model: SeveralHeads,
    data: Mapping[str, TaskData],
    result: Result | None,
    quiet: bool,
) -> SeveralOutcome:
    """Evaluate the trained model on each task, and write the folder of each."""
    scored = {name: one.score(model.tasks[name], MeanLoss()) for name, one in data.items()}
    outcome = SeveralOutcome(result, {name: metric for name, (_, metric) in scored.items()})
    for name, metric in outcome.metrics.items():
        warnings = never_predicted(metric, data[name].config)
        say((f"warning: {name}: {warning}" for warning in warnings), quiet)
    if not is_main():
        return outcome
    with full_disk(config.out):
        if not config.tuning.is_on:
            save_heads(model.tasks, config.out)
        for name, (task, metric) in scored.items():
            folder = config.out / name
            if config.tuning.is_on:
                save_adapter(model.tasks[name], folder, config.model)
            data[name].tokenizer.with_max_length(task.max_length).save(folder)
            save_task(task, folder)
            write_json(folder / "metrics.json", nan_to_null({"valid": metric.to_json()}))
            for picture, figure in figures(metric).items():
                save_png(figure, folder / f"{picture}.png")
        scores = {name: metric.to_json() for name, metric in outcome.metrics.items()}
        write_json(config.out / "metrics.json", nan_to_null({"valid": scores}))
    return outcome
