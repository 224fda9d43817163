"""Define the result of fine-tuning one model."""

from dataclasses import dataclass

from plainformer.finetune.metrics import Metric, Table
from plainformer.training import Result


@dataclass(frozen=True)
class Outcome:
    """The result of one fine-tuning run."""

    result: Result | None
    """The result of the training loop; None where nothing was trained, or in several stages."""
    metric: Metric
    """The metric of the validation examples; empty where there were none."""
    num_cut: int
    """Training texts that were cut to `max_length` tokens."""
    max_length: int
    warnings: tuple[str, ...] = ()
    """Reasons to doubt the score."""
    tables: tuple[Table, ...] = ()
    """The scores of the stages, where there were several, or of the groups."""

    @property
    def score(self) -> float:
        """Return the main score: the first of the metric."""
        return self.metric.main[1]
