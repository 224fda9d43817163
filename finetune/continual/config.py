"""The settings of learning tasks one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from plainformer.base import UserError
from plainformer.finetune.continual.options import ContinualOptions
from plainformer.finetune.multitask.config import TasksConfig


@dataclass(frozen=True)
class ContinualConfig(TasksConfig):
    """Fine-tune one encoder for several tasks, one after the other, and measure what it forgets.

    The tasks are learned in the order of the sections in the file --tasks, each with a head of its
    own. After each one all tasks learned so far are evaluated. Each has a folder in --out, which
    `evaluate` and `predict` open alone. With --resume, sections may be added at the end of the
    file: they are learned, too.
    """

    GROUPS: ClassVar[Mapping[str, str]] = {**TasksConfig.GROUPS}

    epochs: float = 3.0
    """Passes over the training examples of each task. 0 trains nothing and only evaluates."""

    select: bool = True
    """Keep the weights with the best validation score of the task that is learned, and tune
    thresholds on the validation examples. --no-select keeps the last weights and never stops
    early."""

    continual: ContinualOptions = field(default_factory=ContinualOptions)
    """Methods that keep what was learned before."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        super().__post_init__()
        if self.tuning.adalora:
            raise UserError(
                "adalora ends with fewer ranks than the next task would start with: choose lora"
            )
