"""The teacher of a distillation: one fine-tuned model, or the ensemble of several.

Its labels are put into the order of the student's. It reads the batches of the student, and so
needs the same tokenizer. It is frozen, in evaluation mode, and part of no checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plainformer.base import UserError, find_folder
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import tokenizer_folder
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.distillation.hidden import hidden_states
from plainformer.finetune.ensemble import (
    READING,
    Ensemble,
    Finetuned,
    outputs_of,
    refuse_other_task,
    refuse_other_tokenizer,
)
from plainformer.finetune.label_order import with_label_order
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task
from plainformer.finetune.tasks import name_of
from plainformer.tokenizer import load_tokenizer
from plainformer.training import choose_device

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


class Teacher:
    """A frozen model of a task; of each batch it is asked once, by an objective of several passes.

    The model may be an `Ensemble`.
    """

    def __init__(self, task: AnyTask, model: PretrainedModel) -> None:
        self.task, self.model = task, model.requires_grad_(False).eval()
        self._batch: Batch[Any] | None = None
        self._said: tuple[Any, list[Tensor]] = None, []

    @torch.no_grad()
    def __call__(
        self, batch: Batch[Any], temperature: float = 1.0, with_states: bool = False
    ) -> tuple[Any, list[Tensor]]:
        """Compute the outputs for a batch and, `with_states`, the output of each layer.

        The outputs of an ensemble are averaged at `temperature`.
        """
        if batch is not self._batch:
            with hidden_states(self.model if with_states else None) as states:
                outputs = outputs_of(self.task, self.model, batch, temperature)
            self._batch, self._said = batch, (outputs, states)
        return self._said


def check_teachers(config: "FinetuneConfig") -> None:
    """Raise `UserError` for a teacher of another task or tokenizer, before examples are read."""
    for folder in config.distillation.teacher:
        task = load_task(folder)
        if type(task) is not config.kind:
            raise UserError(
                f"the teacher in {folder} was fine-tuned for {name_of(type(task))}, not for "
                f"{config.task.name}"
            )
        tokenizer = load_tokenizer(tokenizer_folder(find_folder(folder)))
        refuse_other_tokenizer(folder, tokenizer, config.model, task.tokenizer(config.model))


def load_teacher(folders: Sequence[Path], task: AnyTask, config: "FinetuneConfig") -> Teacher:
    """Load the teacher of a student with this `task`, on the device of training.

    Raises `UserError` where one has another task, other labels or another tokenizer than the
    student, reads texts otherwise, or has fewer positions than `max_length`.
    """
    check_teachers(config)
    device = choose_device(config.training.device)
    tasks, models = list[AnyTask](), list[PretrainedModel]()
    for folder in folders:
        found = Finetuned.load(folder)
        refuse_other_task(folder, found.task, "the training examples", task, READING)
        found.model.config.check_max_length(task.max_length, f"the teacher in {folder}")
        tasks.append(with_label_order(found.task, found.model, getattr(task, "labels", ())))
        models.append(found.model.to(device))
    if len(models) == 1:
        return Teacher(tasks[0], models[0])
    return Teacher(tasks[0], Ensemble(tasks, models))
