"""Options of a task: their base, and those that several tasks share.

Each task declares its own in its file, with the rules beside the fields; `Task.Options` names them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The options of one task; `name` is the task's in `TASKS`."""

    name: str

    declares_length: ClassVar[bool] = False
    """Let the task choose `max_length` where the user gives none."""

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""


@dataclass(frozen=True, kw_only=True)
class OverflowOptions(TaskOptions):
    """The option of a task that can read a text in windows."""

    overflow: Literal["truncate", "windows"] = "truncate"
    """Texts longer than max_length: truncate (and report how many), or split into overlapping
    windows."""


@dataclass(frozen=True, kw_only=True)
class PoolingOptions(TaskOptions):
    """The option of a task that represents a text by one vector."""

    pooling: Literal["declared", "cls", "mean"] = "declared"
    """Represent a text by its first token (cls), or by the mean of all (only for modern encoders
    and sentence-embedding). By default as the model folder declares; if it does not, the first
    token, and for sentence-embedding the mean."""


@dataclass(frozen=True, kw_only=True)
class TextOptions(OverflowOptions, PoolingOptions):
    """The options of a task that reads whole texts, in one sequence or in windows."""


def balance_of(options: TaskOptions) -> str | None:
    """Return the option `balance` of a task; None where it has none."""
    return getattr(options, "balance", None)
