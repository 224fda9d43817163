"""Learn tasks in sequence: a pretrained folder and the data of each → a folder for each task.

    for each task:  a new head on the encoder;  train on its examples;  evaluate all tasks so far

Each step has a folder in `OUT/checkpoints/`. A sequence that was stopped goes on within the step
where it was; one that is finished may be given more tasks, and goes on with them.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from plainformer.base import UserError, nan_to_null, write_json
from plainformer.base.figures import save_png
from plainformer.base.say import say
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.continual.config import ContinualConfig
from plainformer.finetune.continual.scores import SequenceScores
from plainformer.finetune.continual.step import learn
from plainformer.finetune.data.fingerprint import Fingerprints, remember
from plainformer.finetune.multitask.data import TaskData, settings_of
from plainformer.finetune.multitask.load import TASKS_FILE
from plainformer.finetune.multitask.outcome import save_tasks
from plainformer.finetune.run import RESUMED_MAY_DIFFER, new_data
from plainformer.training import (
    is_main,
    local_indices,
    main_first,
    processes,
    run_folder,
    save_options,
    saved_options,
)

SCORES = "scores.json"
"""In the folder of a finished step: the scores after it, {task: {measure: score}}."""


def continual(config: ContinualConfig, quiet: bool = False) -> SequenceScores:
    """Learn the tasks one after the other, and return the scores of each after each step.

    `config.out` then holds a folder for each task, as that of `multitask`, `tasks.json`,
    `options.json`, `scores.json`, `scores.png`, and in `checkpoints/` a folder for each step.

    Raises:
        UserError: the tasks or their examples cannot be read or learned from, or not with the
            methods that are chosen; the model cannot be loaded; or the folder holds another run.
    """
    with processes():
        local_indices(config.accumulate)
        quiet = quiet or not is_main()
        sections = config.read_tasks()
        settings = settings_of(config, sections)
        with run_folder(config.out, "continual"):
            with main_first():
                new = new_tasks(config, settings)
            data = {}
            for name, one in settings.items():
                say([f"{name}:"], quiet)
                data[name] = TaskData.read(one, quiet)
            config.continual.check({name: one.task for name, one in data.items()})
            save_options(replace(config, resume=False), config.out)
            steps = step_folders(config, data)
            before = None
            for number, (name, folder) in enumerate(steps.items(), 1):
                so_far = dict(islice(data.items(), number))
                if not (folder / SCORES).exists():
                    say([f"task {number} of {len(data)}: {name}"], quiet)
                    take_step(config, so_far, new[name], folder, before, quiet)
                if is_main():
                    write_json(config.out / TASKS_FILE, {n: sections[n] for n in so_far})
                before = folder
            scores = SequenceScores.read([folder / SCORES for folder in steps.values()])
            if is_main():
                write_json(config.out / SCORES, nan_to_null(scores.to_json()))
                save_png(scores.figure(), config.out / "scores.png")
            return scores


def step_folders(config: ContinualConfig, tasks: Iterable[str]) -> dict[str, Path]:
    """Return the folder of the step that learns each task."""
    root = config.out / "checkpoints"
    return {name: root / f"{number}-{name}" for number, name in enumerate(tasks, 1)}


def take_step(
    config: ContinualConfig,
    data: Mapping[str, TaskData],
    new: Fingerprints | None,
    folder: Path,
    before: Path | None,
    quiet: bool,
) -> None:
    """Learn the last task of `data`, evaluate all of them, and save their models and scores.

    `new` are the fingerprints of its examples, if it was not begun before.
    """
    name = list(data)[-1]
    if new is not None and is_main():
        settings = data[name].config
        settings.out.mkdir(exist_ok=True)
        remember(new, settings.out)
        save_options(replace(settings, resume=False), settings.out)
    model, result = learn(config, data, folder, before, quiet)
    outcome = save_tasks(config, model, data, result, quiet)
    found = {n: metric.main for n, metric in outcome.metrics.items()}
    with main_first():
        if is_main():
            scores = {n: {measure: value} for n, (measure, value) in found.items()}
            write_json(folder / SCORES, nan_to_null(scores))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    line = ", ".join(f"{n} {value:.3f}" for n, (_, value) in found.items())
    say([f"after {name}: {line}"], quiet)


def new_tasks(
    config: ContinualConfig, settings: Mapping[str, FinetuneConfig]
) -> dict[str, Fingerprints | None]:
    """Return the fingerprints of each task's examples; None for a task that was begun before.

    Raises:
        UserError: `config.out` holds a run that is not resumed, or one of other options, examples
            or tasks; there may be more tasks after those learned.
    """
    may_differ = {*RESUMED_MAY_DIFFER, "tasks"}
    saved_options(config, config.out, resume=config.resume, may_differ=may_differ)
    known = {folder.name for folder in step_folders(config, settings).values()}
    for folder in sorted((config.out / "checkpoints").glob("[!.]*")):
        if folder.name not in known:
            number, _, name = folder.name.partition("-")
            raise UserError(
                f"{config.out} has learned {name} as task {number}, and {config.tasks} has not: "
                "add new tasks after those learned, or choose another folder"
            )
    return {name: new_data(one) for name, one in settings.items()}
