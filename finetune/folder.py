"""A fine-tuned folder says what it was fine-tuned for: `task.json` beside model and tokenizer."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cellar import UserError, find_folder, write_json
from finetune.task import Task
from finetune.tasks import TASKS

FILE = "task.json"


def save_task(task: Task[Any, Any], folder: Path) -> None:
    """Write the name of a task, and what it has to remember."""
    (name,) = (name for name, kind in TASKS.items() if kind is type(task))
    write_json(folder / FILE, {"task": name, **asdict(task)})


def load_task(folder: Path) -> Task[Any, Any]:
    """The task of a folder that `finetune` left; `UserError` when there is none."""
    path = find_folder(folder) / FILE
    if not path.exists():
        raise UserError(f"{folder} holds no {FILE}: it was not fine-tuned for a task")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        kind = TASKS[fields.pop("task")]
        return kind(**{name: _immutable(value) for name, value in fields.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _immutable(value: Any) -> Any:
    return tuple(_immutable(v) for v in value) if isinstance(value, list) else value
