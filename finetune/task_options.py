"""Options of a task: their base, and those that several tasks share.

Each task declares its own in its file, with the rules beside the fields; `Task.Options` names them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from plainformer.base import at_least, between, check_bounds

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The options of one task; `name` is the task's in `TASKS`."""

    name: str

    declares_length: ClassVar[bool] = False
    """Let the task choose `max_length` where the user gives none."""

    def __post_init__(self) -> None:
        """Check the values, each class those of its own options."""

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""


@dataclass(frozen=True, kw_only=True)
class OverflowOptions(TaskOptions):
    """The option of a task that can read a text in windows."""

    overflow: Literal["truncate", "windows"] = "truncate"
    """Truncate inputs longer than --max-length, or read them in overlapping windows."""


@dataclass(frozen=True, kw_only=True)
class PoolingOptions(TaskOptions):
    """The option of a task that represents a text by one vector."""

    pooling: Literal["declared", "cls", "mean"] = "declared"
    """Pooling of the token vectors into one for the text: the first token's (cls) or the mean (only
    for ModernBERT's family and sentence-embedding). declared: as the model folder says; if it does
    not say, cls, and for sentence-embedding mean."""


@dataclass(frozen=True, kw_only=True)
class TextOptions(OverflowOptions, PoolingOptions):
    """The options of a task that reads whole texts, in one sequence or in windows."""


@dataclass(frozen=True, kw_only=True)
class LabelOptions(TaskOptions):
    """The option of a task that chooses one label for an example."""

    per_label: int = 0
    """Few-shot: train on only this many examples of each label, drawn with --seed; 0: on all."""

    def __post_init__(self) -> None:
        """Check the number."""
        super().__post_init__()
        check_bounds(self, per_label=at_least(0))


@dataclass(frozen=True, kw_only=True)
class SmoothingOptions(TaskOptions):
    """The option of a task that chooses one label."""

    label_smoothing: float = 0.0
    """Share of the target that all labels divide among them, so that the model stays less sure
    (0.1 is usual); 0: the label has it all."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        super().__post_init__()
        check_bounds(self, label_smoothing=between(0, 1, open_="]"))


def per_label_of(options: TaskOptions) -> int:
    """Return the option `per_label` of a task; 0 where it has none."""
    return options.per_label if isinstance(options, LabelOptions) else 0


def contrastive_of(options: TaskOptions) -> int:
    """Return the option `contrastive` of a task; 0 where it has none."""
    return getattr(options, "contrastive", 0)


def balance_of(options: TaskOptions) -> str | None:
    """Return the option `balance` of a task; None where it has none."""
    return getattr(options, "balance", None)
