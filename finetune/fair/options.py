"""The options of groups: their column, and what training does so that none is served worse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, check_bounds
from plainformer.finetune.task_options import contrastive_of

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

METHODS = ("group_reweight", "group_dro", "group_adversarial")
"""The options that each choose a method."""
UNEQUAL = METHODS[:2]
"""The methods that give the losses of groups unequal weights."""


@dataclass(frozen=True)
class FairOptions:
    """Look at groups of examples apart, and train so that none is served worse."""

    GROUPS: ClassVar[Mapping[str, str]] = {"group": "groups of examples"}
    """First option of each group -> the heading of the group in the help."""

    group: str | None = None
    """Column of your files with the group of each training example (a dialect, a source, a gender):
    validation scores are shown for each group, and the options below treat groups alike. The model
    never reads it, and predicts without it."""

    group_reweight: bool = False
    """Weigh the losses as if group and label were independent, or, in tasks without one label an
    example, as if all groups were equally large."""

    group_dro: float = 0.0
    """Weigh the groups with large losses more, step by step: the rate at which the weights follow
    the losses (group DRO: 0.01 to 0.1 is usual, more for few steps); 0: off."""

    group_adversarial: float = 0.0
    """Train a second head to tell the group from the vector of a text and its label, and the
    encoder to confuse it: the weight of that loss (1 is usual); 0: off."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, group_dro=at_least(0), group_adversarial=at_least(0))
        for name in self.methods:
            if not self.group:
                raise UserError(f"{name} needs groups: give their column, such as group dialect")
        if self.group_reweight and self.group_dro:
            raise UserError(
                "group_reweight and group_dro weigh the groups, each in its way: choose one"
            )

    @property
    def methods(self) -> list[str]:
        """Return the names of the chosen methods."""
        return [name for name in METHODS if getattr(self, name)]

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if not self.group:
            return
        if config.unlabelled.unlabelled is not None:
            raise UserError("unlabelled texts are trained on, and have no group: leave out group")
        for name in self.methods:
            if config.epochs == 0:
                raise UserError(f"{name} is a way to train: epochs must be above 0")
            if contrastive_of(config.task):
                raise UserError(
                    f"contrastive trains on pairs of texts, of two groups: leave out {name}"
                )
            if name in UNEQUAL and config.robust.mixup:
                raise UserError(f"mixup mixes texts of two groups: leave out mixup or {name}")
