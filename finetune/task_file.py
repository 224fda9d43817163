"""Save a task as `task.json`, beside model and tokenizer, and load it.

A folder that was fine-tuned elsewhere has no such file; its `config.json` names the task.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from plainformer.base import Fields, UserError, find_folder, from_json, read_json, write_json
from plainformer.encoder.heads.sequence import default_problem_type
from plainformer.encoder.weights import (
    family_of,
    is_adapter,
    named_architectures,
    read_config,
    read_labels,
)
from plainformer.encoder.weights.sentence import MODULES
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding

FILE = "task.json"
FOREIGN = {
    "QuestionAnswerer": "question-answering",
    "TokenClassifier": "tagging",
    "ChoiceScorer": "multiple-choice",
    "single_label_classification": "classification",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}
"""Head, or problem type, in the `config.json` of a model fine-tuned elsewhere -> task."""


def save_task(task: AnyTask, folder: Path) -> None:
    """Write the name and the fields of a task, without the settings of its training alone.

    A subclass that is for training alone is saved as the task that it extends.
    """
    names = {kind: name for name, kind in TASKS.items()}
    saved = next(kind for kind in type(task).__mro__ if kind in names)
    every = asdict(task)
    name, values = names[saved], {f.name: every[f.name] for f in fields(saved) if f.compare}
    write_json(folder / FILE, {"task": name, **values})


def load_task(folder: Path) -> AnyTask:
    """Load the task of a folder fine-tuned here or elsewhere; raise `UserError` for any other."""
    path = find_folder(folder) / FILE
    if not path.exists():
        return foreign_task(path.parent)
    written = read_json(path)
    name = Fields(written, path).choice("task", tuple(TASKS))
    task: AnyTask = from_json(
        TASKS[name], {field: value for field, value in written.items() if field != "task"}, path
    )
    return task


def task_of(folder: Path) -> AnyTask | None:
    """Load the task of a model folder; None for a model that was only pretrained."""
    try:
        return load_task(folder)
    except UserError:
        if (folder / "task.json").exists() or not (folder / "config.json").exists():
            raise
        return None


def foreign_task(folder: Path) -> AnyTask:
    """Derive the task of a folder without `task.json`; raise `UserError` for an unknown head."""
    if (folder / "config.json").exists() or is_adapter(folder):
        config = read_config(folder)
        try:
            task = named_task(config)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from None
        if task is not None:
            return task
    if (folder / MODULES).is_file():
        return SentenceEmbedding.of_folder(folder)
    if heads := sorted(path.parent.name for path in folder.glob(f"*/{FILE}")):
        raise UserError(
            f"{folder} holds no {FILE}, but its folders {', '.join(heads)} do: name one, such as "
            f"{folder / heads[0]}"
        )
    raise UserError(
        f"{folder} holds no {FILE}: it was not fine-tuned for a task; do that first: "
        f"plainformer finetune TASK --model {folder} --train … --out …"
    )


def named_task(config: Mapping[str, Any]) -> AnyTask | None:
    """Return the task of the head that `config.json` names; None for an unknown one."""
    family = family_of(config)
    shape, labels = family.read_config(config), []
    heads = {theirs: ours for ours, theirs in family.architectures.items()}
    for name in named_architectures(config):
        head = heads.get(name, name)
        if head in ("SequenceClassifier", "TokenClassifier"):
            labels = read_labels(config)
        if head == "SequenceClassifier":
            said = Fields(config, "config.json").text("problem_type", None)
            head = said or default_problem_type(labels)
        if head in FOREIGN:
            return TASKS[FOREIGN[head]].foreign(tuple(labels), shape.max_position_embeddings)
    return None
