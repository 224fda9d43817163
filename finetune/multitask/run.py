"""One run on several tasks: a pretrained folder and the data of each → a folder for each task.

    until all steps are done:  draw a task;  take a step on a batch of it

The draw is a function of the seed and the step (`sampling.py`), and so are the batches of a task.
A head changes only in the steps of its task.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from plainformer.base import UserError, read_json, write_json
from plainformer.base.say import say
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.fingerprint import (
    Fingerprints,
    fingerprints,
    refuse_changes,
    remember,
)
from plainformer.finetune.fit import fit_batches, multipliers_of
from plainformer.finetune.micro_batches import micro_batches
from plainformer.finetune.multitask.config import MultitaskConfig
from plainformer.finetune.multitask.data import TaskBatch, TaskData, settings_of, several_objective
from plainformer.finetune.multitask.load import TASKS_FILE
from plainformer.finetune.multitask.outcome import SeveralOutcome, save_tasks
from plainformer.finetune.multitask.sampling import TaskOrder, probabilities
from plainformer.finetune.multitask.several_heads import SeveralHeads
from plainformer.finetune.prediction.predictor import MeanLoss
from plainformer.finetune.run import (
    RESUMED_MAY_DIFFER,
    build,
)
from plainformer.training import (
    by_items,
    is_main,
    local_indices,
    main_first,
    processes,
    refuse_missing_trackers,
    run_folder,
    save_options,
    saved_options,
    training_device,
)

MONITOR = "score"
"""The score by which the best weights are chosen: the mean of the tasks' main scores."""


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
        settings = settings_of(config, sections)
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
    training_device(config.training)
    refuse_missing_trackers(config.training.track)
    found = {name: fingerprints(one) for name, one in settings.items()}
    if saved is None:
        return found
    known = config.out / TASKS_FILE
    saved_sections = read_json(known)
    if saved_sections != sections or list(saved_sections) != list(sections):
        raise UserError(  # draws, and the optimizer's state, go by the number of a task
            f"the run in {config.out} was started with other tasks, another order of them or other "
            f"options of one, than {config.tasks} has: resume it with --tasks {known}, or choose "
            "another folder"
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
            label, value = metric.main
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
