"""The options of a search: those of `finetune`, and what to search."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from plainformer.base import UserError, at_least, check_bounds
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.search.space import Space, default_space, read_space


@dataclass(frozen=True)
class SearchConfig(FinetuneConfig):
    """Search for the options of finetune with the best validation score (needs Optuna).

    Each trial is a run of finetune with other values of the searched options, and stops early where
    it falls behind the others. The first trial has the given values. The same command goes on with
    a search that was stopped, and more processes that run it at the same time share its trials.
    --out/best is the run with the best score.
    """

    GROUPS: ClassVar[Mapping[str, str]] = {**FinetuneConfig.GROUPS, "trials": "search"}
    HIDDEN: ClassVar[frozenset[str]] = frozenset({"seeds", "folds", "resume"})
    """Options of finetune that a search does not have."""

    trials: int = 30
    """Trials of the search in all. With more of them the same command goes on with a finished
    search."""

    space: tuple[str, ...] = ()
    """Search these options of finetune, of the task and of its methods: --space
    learning_rate=1e-5..1e-3 epochs=2..6 batch_size=16,32 lora=4,8,16. Ranges are on a log scale
    for learning rates and where the ends differ by a factor of ten; between whole numbers they hold
    whole numbers. By default a tenth to ten times the given learning rate, half to twice the epochs
    and the batch size, and up to twice the dropout."""

    storage: str | None = None
    """Keep the study in a database of Optuna (sqlite:///study.db, postgresql://…) or in a journal
    file, by default study.journal in --out. All processes share --out, and the storage."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        super().__post_init__()
        check_bounds(self, trials=at_least(1))
        if self.seeds > 1 or self.folds or self.resume:
            raise UserError("a search tries each setting once: leave out seeds, folds and resume")
        epochs = self.dimensions().get("epochs")
        if self.epochs == 0 or (epochs is not None and 0 in epochs.values.ends):
            raise UserError("a search needs epochs of training: more than 0")

    def dimensions(self) -> Space:
        """Return the searched options, with their ranges and choices."""
        return read_space(self.space or default_space(self.given), self.given)

    @property
    def given(self) -> FinetuneConfig:
        """Return the options of finetune."""
        return FinetuneConfig(**{f.name: getattr(self, f.name) for f in fields(FinetuneConfig)})

    def without_place(self) -> "SearchConfig":
        """Return the options without the storage, whose URL may hold a password."""
        return replace(self, storage=None)
