"""A fine-tuned folder says what it was fine-tuned for: `task.json` beside model and tokenizer.

A folder that was fine-tuned elsewhere has none; its `config.json` tells enough to use the model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cellar import UserError, find_folder, write_json
from encoder.heads.sequence import usual_problem
from encoder.weights import family_of, read_config, read_json
from finetune.task import Task
from finetune.tasks import TASKS

FILE = "task.json"
FOREIGN = {
    "QuestionAnswerer": "question-answering",
    "TokenClassifier": "tagging",
    "ChoiceScorer": "multiple-choice",
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
    written = {name: _immutable(value) for name, value in read_json(path).items()}
    name = written.pop("task", None)
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(f"{path}: there is no task {name!r}; there are: {', '.join(TASKS)}")
    faults = list(misfits(TASKS[name], written))
    if faults:
        raise UserError(f"{path} is damaged, or of another version: {'; '.join(faults)}")
    return TASKS[name](**written)


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


def misfits(kind: type[Task[Any, Any]], written: Mapping[str, Any]) -> Iterator[str]:
    """What keeps these from being the fields of a task."""
    known, hints = {field.name: field for field in fields(kind)}, get_type_hints(kind)
    for name, field in known.items():
        if name not in written and field.default is MISSING:
            yield f"{name} is missing"
    for name, value in written.items():
        if name not in known:
            yield f"{name} is unknown"
        elif not fits(value, hints[name]):
            yield f"{name} cannot be {value!r:.40}"


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON, with tuples for its lists, is of the type of a field."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return value in inner
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        hints = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(value) == len(hints) and all(map(fits, value, hints))
    if inner:
        return any(fits(value, each) for each in inner)
    return type(value) is hint or (hint is float and type(value) is int)


def _immutable(value: Any) -> Any:
    return tuple(_immutable(v) for v in value) if isinstance(value, list) else value
