"""A fine-tuned folder says what it was fine-tuned for: `task.json` beside model and tokenizer.

A folder that was fine-tuned elsewhere has none; its `config.json` tells enough to use the model.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cellar import UserError, find_folder, write_json
from encoder.heads.sequence import usual_problem
from encoder.weights import family_of, read_config, read_json
from finetune.task import Task
from finetune.tasks import TASKS

FILE = "task.json"
FOREIGN = {
    "QuestionAnswerer": "question-answering",
    "TokenClassifier": "tagging",
    "single_label_classification": "classification",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}
"""what a model is for that was fine-tuned elsewhere, by the head that `config.json` names, or the
kind of its scores"""


def save_task(task: Task[Any, Any], folder: Path) -> None:
    """Write the name of a task, and what it has to remember."""
    (name,) = (name for name, kind in TASKS.items() if kind is type(task))
    write_json(folder / FILE, {"task": name, **asdict(task)})


def load_task(folder: Path) -> Task[Any, Any]:
    """The task of a folder that was fine-tuned, here or elsewhere; `UserError` for any other."""
    path = find_folder(folder) / FILE
    if not path.exists():
        return foreign_task(path.parent)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        kind = TASKS[fields.pop("task")]
        return kind(**{name: _immutable(value) for name, value in fields.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def foreign_task(folder: Path) -> Task[Any, Any]:
    """The task of a folder without `task.json`; `UserError` where `config.json` names none."""
    path = folder / "config.json"
    if path.exists():
        config = read_json(path)
        family = family_of(config)
        shape, labels = read_config(config, family)
        heads = {theirs: ours for ours, theirs in family.architectures.items()}
        for name in config.get("architectures") or []:
            head = heads.get(name, name)
            if head == "SequenceClassifier":
                head = config.get("problem_type") or usual_problem(labels)
            if head in FOREIGN:
                task = TASKS[FOREIGN[head]]
                return task.foreign(tuple(labels), shape.max_position_embeddings)
    raise UserError(f"{folder} holds no {FILE}: it was not fine-tuned for a task")


def _immutable(value: Any) -> Any:
    return tuple(_immutable(v) for v in value) if isinstance(value, list) else value
