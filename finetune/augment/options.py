"""The options of data augmentation: how many copies, and how each method changes them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, between, check_bounds

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

METHODS = ("augment_delete", "augment_swap", "augment_synonyms", "augment_mlm")
"""The options that each choose a method."""
NUMBERS = ("regression", "sentence-embedding")
"""The tasks without labels that a prediction can be equal to."""


@dataclass(frozen=True)
class AugmentOptions:
    """Train on changed copies of the training examples, too."""

    GROUPS: ClassVar[Mapping[str, str]] = {"augment": "data augmentation"}
    """First option of each group -> the heading of the group in the help."""

    augment: int = 0
    """Add this many changed copies of each training example, with the same labels; an epoch is
    longer accordingly. The copies of an example take turns at the methods below. 4 is usual for
    some hundreds of examples, 1 for thousands. 0: off."""

    augment_delete: float = 0.1
    """Delete this share of the words, at least one; 0: not this method."""

    augment_swap: float = 0.1
    """Swap pairs of words, this share of the number of words, at least one pair; 0: not this
    method."""

    augment_synonyms: Path | None = None
    """Replace words by synonyms from this file: the words or phrases of one meaning on each line,
    separated by tabs or commas."""

    augment_mlm: Path | None = None
    """Replace words by guesses of the masked language model in this folder (or of this name)."""

    augment_replace: float = 0.1
    """Share of the words that synonyms, or guesses, replace, at least one."""

    augment_check: Path | None = None
    """Keep only the copies for which this model, fine-tuned before on the task, predicts the same
    labels."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            augment=at_least(0),
            augment_delete=between(0, 1, open_="]"),
            augment_swap=between(0, 0.5),
            augment_replace=between(0, 1, open_="["),
        )
        for field in () if self.augment else fields(self):
            if getattr(self, field.name) != field.default:
                raise UserError(f"{field.name} is for copies: give their number, such as augment 4")
        if self.augment and not any(getattr(self, name) for name in METHODS):
            raise UserError(f"augment needs a method: {', '.join(METHODS)}")

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.augment and config.epochs == 0:
            raise UserError("augment adds training examples: epochs must be above 0")
        if self.augment_check is not None and config.task.name in NUMBERS:
            raise UserError(
                f"augment_check compares labels, and {config.task.name} has none: leave it out"
            )
