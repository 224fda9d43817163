"""The options of learning tasks in sequence: each method by its strength, and 0 leaves it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from plainformer.base import UserError, at_least, between, check_bounds, refuse_unused
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.sequence import SequenceTask


@dataclass(frozen=True)
class ContinualOptions:
    """Forget little of the tasks learned before."""

    GROUPS: ClassVar[Mapping[str, str]] = {"ewc": "continual learning"}
    """First option of each group -> the heading of the group in the help."""

    ewc: float = 0.0
    """Pull the weights of the encoder that earlier tasks need towards their values after them, this
    strongly (elastic weight consolidation). Fisher information is small: 10,000 to 1,000,000 is
    usual for a pretrained encoder; 0: off."""

    lwf: float = 0.0
    """Make the earlier heads answer for the new texts as they did before: the weight of the
    divergence of their predictions (learning without forgetting: 1 is usual); 0: off."""

    replay: float = 0.0
    """Take this share of the steps on examples of the earlier tasks (0.1 is usual); 0: off."""

    buffer: int = 500
    """Keep this many training examples of each task for replay."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            ewc=at_least(0),
            lwf=at_least(0),
            replay=between(0, 1, open_="]"),
            buffer=at_least(1),
        )
        if not self.replay:
            refuse_unused(self, ("buffer",), "replay")

    def check(self, tasks: Mapping[str, AnyTask]) -> None:
        """Raise `UserError` for a task, in this order, with which a method cannot be used."""
        for name, task in tasks.items():
            if self.ewc and isinstance(task, SentenceEmbedding) and task.scale is None:
                raise UserError(
                    f"ewc takes the loss of one example at a time, and that of {name} compares the "
                    "texts of a batch: leave out ewc, or give scores"
                )
        for name, task in list(tasks.items())[:-1]:
            if self.lwf and not reads_any_text(task):
                raise UserError(
                    f"lwf shows an earlier head the texts of the next task, and that of {name} "
                    "reads only its own: leave out lwf, or learn this task last"
                )


def reads_any_text(task: AnyTask) -> bool:
    """Tell whether the head of `task` answers for any text as a whole, however it is encoded."""
    return isinstance(task, SequenceTask) and not isinstance(task, Prompt)
