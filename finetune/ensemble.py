"""Predict with several fine-tuned models: the mean of what they predict.

    p(y | x) = 1/n Σ pᵢ(y | x)

Models that differ by chance alone err on different texts, so their mean is right more often than
each, at n times the cost (Lakshminarayanan et al. 2017, arXiv:1612.01474). What is averaged is for
the task to say: `Task.average`.

    predictor = Predictor.load(["runs/seed-1", "runs/seed-2"])
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from plainformer.base import UserError, find_folder
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import tokenizer_folder
from plainformer.finetune.calibration import Calibration
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.label_order import with_label_order
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task
from plainformer.finetune.tasks import name_of
from plainformer.tokenizer import Tokenizer, load_tokenizer

Folders = str | Path | Sequence[str | Path]
"""The folder of a fine-tuned model, or those of an ensemble."""

OWN = {"labels", "columns", "threshold", "thresholds", "words", "word_ids", "calibration"}
"""Fields of a task in which the members of an ensemble may differ."""
READING = {"template", "mask_id", "prompt", "lower_case"}
"""Fields of a task that say what a text looks like to the model, whatever its length."""


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned model with its task and its tokenizer, as a folder holds them."""

    folder: Path
    task: AnyTask
    model: PretrainedModel
    tokenizer: Tokenizer

    @classmethod
    def load(cls, folder: str | Path) -> "Finetuned":
        """Load the model in `folder`; raise `UserError` for a folder without one."""
        folder = Path(folder)
        task = load_task(folder)
        tokenizer = load_tokenizer(tokenizer_folder(find_folder(folder)))
        model = task.load(folder)
        tokenizer.check_vocabulary(model.config.vocab_size)
        named, there = getattr(task, "labels", None), getattr(model, "labels", None)
        if named is not None and there is not None and tuple(named) != tuple(there):
            raise UserError(f"{folder}: task.json and config.json name other labels")
        return cls(folder, task, model, tokenizer)

    def like(self, first: "Finetuned") -> "Finetuned":
        """Return this model with its labels in the order of `first`.

        Raises `UserError` where it has another task, other labels or another tokenizer than `first`
        or reads texts otherwise.
        """
        refuse_other_tokenizer(self.folder, self.tokenizer, first.folder, first.tokenizer)
        every = {field.name for field in fields(first.task) if field.compare}
        refuse_other_task(self.folder, self.task, first.folder, first.task, every - OWN)
        labels = getattr(first.task, "labels", ())
        return replace(self, task=with_label_order(self.task, self.model, labels))


def folders_of(given: Folders) -> list[Path]:
    """Return the folders, one or several; raise `UserError` for one that is given twice."""
    folders = [Path(f) for f in ([given] if isinstance(given, str | Path) else given)]
    for number, folder in enumerate(folders):
        if folder.resolve() in (other.resolve() for other in folders[:number]):
            raise UserError(f"{folder} is given twice")
    return folders


class Ensemble(PretrainedModel):
    """Models of one task, each with its own values of the task's fields."""

    def __init__(self, tasks: Sequence[AnyTask], models: Sequence[PretrainedModel]) -> None:
        super().__init__()
        self.tasks, self.models = tuple(tasks), nn.ModuleList(models)
        self.config = models[0].config

    def outputs(self, batch: Batch[Any], temperature: float = 1.0) -> Any:
        """Compute the mean of the outputs of the models, divided by `temperature`."""
        pairs = zip(self.tasks, self.models, strict=True)
        outputs = [task.outputs(cast(PretrainedModel, model), batch) for task, model in pairs]
        return self.tasks[0].average(outputs, temperature)


def outputs_of(
    task: AnyTask, model: PretrainedModel, batch: Batch[Any], temperature: float = 1.0
) -> Any:
    """Compute the outputs of a model or of an ensemble."""
    if isinstance(model, Ensemble):
        return model.outputs(batch, temperature)
    return task.outputs(model, batch)


def joined(members: Sequence[Finetuned]) -> Finetuned:
    """Return the ensemble of the members, or the only one; raise `UserError` if they differ."""
    first, *others = members
    if not others:
        return first
    members = [first, *(member.like(first) for member in others)]
    tasks, models = [m.task for m in members], [m.model for m in members]
    return replace(first, task=mean_task(members), model=Ensemble(tasks, models).eval())


def mean_task(members: Sequence[Finetuned]) -> AnyTask:
    """Return the task of the first member with the mean of the thresholds of all.

    Each member has its own temperature; sets, and when to abstain, are of one model alone.
    Raises `UserError` where some have a threshold, and others none.
    """
    task = replace(members[0].task, calibration=Calibration())
    for name in ("threshold", "thresholds"):
        values = [getattr(member.task, name, None) for member in members]
        pairs = zip(members, values, strict=True)
        without = [member.folder for member, value in pairs if value in (None, ())]
        if len(without) == len(members):
            continue
        if without:
            raise UserError(f"{without[0]} has no tuned {name}, and others have")
        task = replace(task, **{name: mean(values)})
    return task


def mean(values: Sequence[Any]) -> Any:
    """Return the mean of numbers, or of tuples of numbers, place by place."""
    if isinstance(values[0], tuple):
        return tuple(mean(some) for some in zip(*values, strict=True))
    return float(torch.tensor(values, dtype=torch.float64).mean())


def refuse_other_tokenizer(folder: Path, tokenizer: Tokenizer, first: Path, its: Tokenizer) -> None:
    """Raise `UserError` where two folders have different tokenizers."""
    if tokenizer.fingerprint() != its.fingerprint():
        raise UserError(
            f"{folder} has another tokenizer than {first}: the same ids stand for other tokens"
        )


def refuse_other_task(
    folder: Path, task: AnyTask, first: str | Path, its: AnyTask, same: set[str]
) -> None:
    """Raise `UserError` for another task, other labels, or another value of a field in `same`."""
    if type(task) is not type(its):
        raise UserError(
            f"{folder} was fine-tuned for {name_of(type(task))}, not for {name_of(type(its))} as "
            f"{first}"
        )
    own, wanted = (set(getattr(t, "labels", ())) for t in (task, its))
    if differing := sorted(own ^ wanted):
        one, other = (folder, first) if differing[0] in own else (first, folder)
        raise UserError(f"the label {differing[0]!r} of {one} is not among those of {other}")
    for name in sorted(same):
        here, there = getattr(task, name, None), getattr(its, name, None)
        if here != there:
            raise UserError(f"{name} is {here!r} in {folder}, and {there!r} in {first}")
