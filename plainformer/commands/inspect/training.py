"""Define the options of the views that search the training examples of a run."""

from dataclasses import dataclass

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.view import ViewOptions


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ViewOptions):
    """Texts, and the training examples to search."""

    text: tuple[str, ...] = ()
    """One or more texts."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Read these columns of both files: --columns text=review. By default as in training. With
    --text, of the file of --train."""

    train: str | None = None
    """Search in this file or set instead of what the run was trained on."""

    limit: int = 20
    """Read at most this many inputs of the file."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1))
