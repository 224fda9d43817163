"""The options of training on unlabelled texts."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, between, check_bounds

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True)
class UnlabelledOptions:
    """Learn from texts without labels, too."""

    GROUPS: ClassVar[Mapping[str, str]] = {"unlabelled": "unlabelled texts"}
    """First option of each group -> the heading of the group in the help."""

    unlabelled: str | None = None
    """Self-training: predict the labels of these texts, and train again on the labelled examples
    and on those that are predicted with confidence. A file (with a text a line, or with the columns
    of the training examples), or the name of a data set, whose labels are not read."""

    rounds: int = 2
    """Self-training: how often the texts are labelled, each time by the model of the round before,
    and a new model is trained from the pretrained weights."""

    confidence: float = 0.9
    """Self-training: keep the texts whose label has at least this probability. A number has none:
    regression keeps all."""

    unlabelled_per_label: int = 0
    """Self-training: keep at most this many texts of each label, the most probable ones; where a
    text has several labels or none, this many in all. 0: all."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self, rounds=at_least(1), confidence=between(0, 1), unlabelled_per_label=at_least(0)
        )
        if self.changed and self.unlabelled is None:
            raise UserError(f"{self.changed[0]} is for self-training: give unlabelled texts")

    @property
    def changed(self) -> list[str]:
        """Return the names of the options of self-training that do not have their default."""
        names = ("rounds", "confidence", "unlabelled_per_label")
        defaults = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != defaults[name]]

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.unlabelled is not None and config.epochs == 0:
            raise UserError("unlabelled texts are trained on: epochs must be above 0")
