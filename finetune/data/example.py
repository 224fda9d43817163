"""Define what a task reads from a row, and what it predicts for it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

T = TypeVar("T")
SameT = TypeVar("SameT")


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example of a task; subclasses add its texts and its labels, None where not known."""

    source: str
    """file:line, for messages"""

    @property
    def file(self) -> str:
        """Return the file of the example."""
        return self.source.rpartition(":")[0]

    @property
    def preview(self) -> str:
        """Return readable text of the example, which also finds duplicates; by default its source.

        No other example has the same source.
        """
        return self.source

    @property
    def category(self) -> str | None:
        """Return the label where there is exactly one, for few-shot samples; None otherwise."""
        return None

    @property
    def stratum(self) -> Any:
        """Return the sortable value by which held-out examples are stratified: the label."""
        return self.category or ""

    @property
    def group(self) -> str:
        """Return a key of the examples that stay on one side of a split: by default the text."""
        return self.preview

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts that may be rewritten while the labels stay true; by default none."""
        return ()

    def with_texts(self: SameT, texts: Sequence[str]) -> SameT:
        """Return the example with other `texts`, as many as before, and the same labels."""
        assert not texts
        return self


ExampleT = TypeVar("ExampleT", bound=Example)


@dataclass(frozen=True)
class Prediction:
    """A prediction of a task."""

    @property
    def confidence(self) -> float:
        """Return the probability that the prediction is right; 1 for a task that gives none."""
        return 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a line of JSON."""
        return asdict(self)


def known(label: T | None) -> T:
    """Return a label that a labelled example always has."""
    assert label is not None
    return label
