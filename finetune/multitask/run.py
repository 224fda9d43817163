"""One run on several tasks: a pretrained folder and the data of each → a folder for each task.

    until all steps are done:  draw a task;  take a step on a batch of it

The draw is a function of the seed and the step (`sampling.py`), and so are the batches of a task.
A head changes only in the steps of its task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plainformer.base import UserError, nan_to_null, read_json, write_json
from plainformer.base.figures import save_png
from plainformer.base.say import say
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.fingerprint import (
    Fingerprints,
    fingerprints,
    refuse_changes,
    remember,
)
from plainformer.finetune.fit import fit_batches, multipliers_of
from plainformer.finetune.length import with_length
from plainformer.finetune.metrics import Metric, Table
from plainformer.finetune.micro_batches import micro_batches
from plainformer.finetune.multitask.config import MultitaskConfig, TasksConfig
from plainformer.finetune.multitask.data import TaskBatch, TaskData, several_objective
from plainformer.finetune.multitask.folder import save_heads
from plainformer.finetune.multitask.load import TASKS_FILE
from plainformer.finetune.multitask.sampling import TaskOrder, probabilities
from plainformer.finetune.multitask.several_heads import SeveralHeads
from plainformer.finetune.prediction.predictor import MeanLoss
from plainformer.finetune.report.figures import figures
from plainformer.finetune.run import (
    RESUMED_MAY_DIFFER,
    build,
    never_predicted,
    refuse_model_folder,
)
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tuning import save_adapter
from plainformer.training import (
    Result,
    by_items,
    choose_device,
    full_disk,
    is_main,
    local_indices,
    main_first,
    processes,
    run_folder,
    save_options,
    saved_options,
)

MONITOR = "score"
"""The score by which the best weights are chosen: the mean of the tasks' main scores."""


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
        return float(np.mean([main_score(metric)[1] for metric in self.metrics.values()]))

    def table(self) -> Table:
        """Tabulate the main score of each task, and their mean."""
        rows = [(name, *main_score(metric), metric.count) for name, metric in self.metrics.items()]
        columns = ("task", "judged by", "score", "examples")
        return Table("scores", columns, [*rows, ("mean", "", self.score, "")])


def main_score(metric: Metric) -> tuple[str, float]:
    """Return the name and the value of the main score: the first of the metric."""
    return next(iter(metric.scores().items()))


def multitask(config: MultitaskConfig, quiet: bool = False) -> SeveralOutcome:
    """Fine-tune one encoder for several tasks, and save a folder for each in `config.out`.

    Each folder is an ordinary one of its task (see `folder.py`). `config.out` also holds
    `options.json`, `tasks.json`, `metrics.json`, `log.jsonl`, `curve.png` and `checkpoints/`.

    Raises:
        UserError: the tasks or their examples cannot be read or learned from, the model cannot be
            loaded, or the folder holds another run.
    """
    with processes():
        local_indices(config.accumulate)
        sections = config.read_tasks()
        settings = {name: config.of_task(name, section) for name, section in sections.items()}
        for one in settings.values():
            refuse_model_folder(replace(one, out=config.out))
        settings = {name: with_length(one) for name, one in settings.items()}
        with run_folder(config.out, "multitask"):
            with main_first():
                found = new_data(config, sections, settings)
            return train_tasks(config, sections, settings, found, quiet or not is_main())


def new_data(
    config: MultitaskConfig, sections: Mapping[str, Any], settings: Mapping[str, FinetuneConfig]
) -> dict[str, Fingerprints] | None:
    """Return the fingerprints of each task's examples for a new run; None for a resumed one.

    Raises:
        UserError: `config.out` holds a run that is not resumed, or one of other tasks or examples.
    """
    may_differ = {*RESUMED_MAY_DIFFER, "tasks"}
    saved = saved_options(config, config.out, resume=config.resume, may_differ=may_differ)
    choose_device(config.training.device)
    found = {name: fingerprints(one) for name, one in settings.items()}
    if saved is None:
        return found
    known = config.out / TASKS_FILE
    if read_json(known) != sections:
        raise UserError(
            f"the run in {config.out} was started with other tasks, or other options of one, than "
            f"{config.tasks} has: resume it with --tasks {known}, or choose another folder"
        )
    for name, one in settings.items():
        refuse_changes(found[name], one.out, one)
    return None


def train_tasks(
    config: MultitaskConfig,
    sections: Mapping[str, Any],
    settings: Mapping[str, FinetuneConfig],
    new: Mapping[str, Fingerprints] | None,
    quiet: bool,
) -> SeveralOutcome:
    """Train on the tasks of `settings`, select and evaluate, and save the result.

    `new` are the fingerprints that a new run saves; None for a resumed one.
    """
    data = {}
    for name, own in settings.items():
        say([f"{name}:"], quiet)
        data[name] = TaskData.read(own, quiet)
    model = SeveralHeads({name: build(one.task, one.config) for name, one in data.items()})
    for one in data.values():
        one.tokenizer.check_vocabulary(model.config.vocab_size)
    shared = replace(next(iter(settings.values())), out=config.out)
    multipliers = multipliers_of(model, shared, quiet)
    if new is not None:
        save_start(config, sections, settings, new)

    names, seed = list(data), config.training.seed
    shares = probabilities([len(one.items) for one in data.values()], config.temperature)
    drawn = TaskOrder(shares, seed)
    orders = {
        name: by_items(len(one.items), one.config.batch_size, seed=seed)
        for name, one in data.items()
    }

    def batches(step: int) -> list[TaskBatch]:
        number, before = drawn(step)
        name = names[number]
        (chosen,) = orders[name](before)
        items = [data[name].items[i] for i in chosen]
        return [TaskBatch(name, batch) for batch in micro_batches(items, config.accumulate)]

    def evaluate(model: SeveralHeads) -> dict[str, float]:
        found, scores, losses = dict[str, float](), list[float](), list[float]()
        for name, one in data.items():
            loss = MeanLoss()
            metric = one.score(model.tasks[name], loss)[1]
            label, value = main_score(metric)
            found |= {f"{name}/loss": loss.value, f"{name}/{label}": value}
            scores.append(value)
            losses.append(loss.value)
        return {"loss": float(shares @ losses), MONITOR: float(np.mean(scores)), **found}

    result = fit_batches(
        model,
        several_objective({name: one.task for name, one in data.items()}, config.robust),
        batches,
        sum(order.steps(epochs=1) for order in orders.values()),
        shared,
        multipliers,
        evaluate,
        MONITOR,
        quiet,
    )
    return save_tasks(config, model, data, result, quiet)


def save_start(
    config: MultitaskConfig,
    sections: Mapping[str, Any],
    settings: Mapping[str, FinetuneConfig],
    new: Mapping[str, Fingerprints],
) -> None:
    """Save the options and the fingerprints of a new run: of each task, and of all."""
    if is_main():
        for name, one in settings.items():
            one.out.mkdir(exist_ok=True)
            remember(new[name], one.out)
            save_options(replace(one, resume=False), one.out)
        write_json(config.out / TASKS_FILE, sections)
    save_options(replace(config, resume=False), config.out)


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
            folder, tokenizer = config.out / name, data[name].tokenizer
            if config.tuning.is_on:
                save_adapter(model.tasks[name], folder, config.model)
            tokenizer.max_length = task.max_length
            tokenizer.save(folder)
            save_task(task, folder)
            write_json(folder / "metrics.json", nan_to_null({"valid": metric.to_json()}))
            for picture, figure in figures(metric).items():
                save_png(figure, folder / f"{picture}.png")
        scores = {name: metric.to_json() for name, metric in outcome.metrics.items()}
        write_json(config.out / "metrics.json", nan_to_null({"valid": scores}))
    return outcome
