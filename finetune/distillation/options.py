"""The options of distillation: its teachers, and the weight of what they teach."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, between, check_bounds

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True)
class DistillationOptions:
    """Learn from fine-tuned models beside the labels."""

    GROUPS: ClassVar[Mapping[str, str]] = {"teacher": "distillation"}
    """First option of each group -> the heading of the group in the help."""

    teacher: tuple[Path, ...] = ()
    """Learn the predictions of the model in this folder, fine-tuned for the same task and labels
    with the same tokenizer; or the mean of those of several folders."""

    teacher_weight: float = 0.5
    """Weight of the predictions of the teacher, from 0 to 1; the loss of the labels has the
    rest."""

    teacher_temperature: float = 2.0
    """Divide the logits of both models by this, so that improbable labels teach more; 2 to 4 is
    usual."""

    teacher_hidden: float = 0.0
    """Learn the hidden states of the teacher, too: the weight of their mean squared error, through
    a learned projection where they are of another size (0.1 is usual); 0: off."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            teacher_weight=between(0, 1),
            teacher_temperature=at_least(1),
            teacher_hidden=at_least(0),
        )
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if given and not self.teacher:
            raise UserError(f"{given[0]} is for distillation: give the folder of a teacher")
        if self.teacher and not self.teacher_weight and not self.teacher_hidden:
            raise UserError("teacher_weight 0 without teacher_hidden: the teacher teaches nothing")
        if self.teacher_hidden and len(self.teacher) > 1:
            raise UserError(
                "teacher_hidden takes the hidden states of one model: give one teacher, or leave "
                "it out"
            )

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.teacher and not config.epochs:
            raise UserError("a teacher needs epochs of training")
