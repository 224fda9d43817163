"""Define the base classes of the examples and predictions of a task."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from plainformer.finetune.data.words import Words

T = TypeVar("T")
SameT = TypeVar("SameT")


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example of a task; subclasses add its texts and its labels, None where unlabelled."""

    source: str
    """File and line ("file:line"), for error messages."""

    @property
    def file(self) -> str:
        """Return the file of the example."""
        return self.source.rpartition(":")[0]

    @property
    def preview(self) -> str:
        """Return the text of the example to show and to find duplicates by; by default its source.

        A source is unique, so by default no examples are duplicates.
        """
        return self.source

    @property
    def category(self) -> str | None:
        """Return the label, for few-shot samples; None where there is not exactly one."""
        return None

    @property
    def stratum(self) -> Any:
        """Return the sortable value by which splits are stratified; by default the label."""
        return self.category or ""

    @property
    def split_key(self) -> str:
        """Return the text that splits keep in one part; by default that of the example."""
        return self.preview

    def to_words(self) -> Words:
        """Split the texts into words that can be changed; by default there are none."""
        return ()

    def with_words(self: SameT, words: Words) -> SameT:
        """Return the example with changed words: its tags and spans follow them."""
        assert not words
        return self


ExampleT = TypeVar("ExampleT", bound=Example)
LAST = ("interval", "set", "abstained")
"""The fields of a prediction that a calibration adds."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of a task for one example."""

    set: tuple[str, ...] | None = field(default=None, kw_only=True)
    """The prediction set; None where the model was not calibrated for sets."""
    abstained: bool | None = field(default=None, kw_only=True)
    """True where the model is too unsure to answer; None where it always answers."""

    @property
    def confidence(self) -> float:
        """Return the probability that the prediction is right; 1 by default."""
        return 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object, set and abstaining last, where there are any."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        last = {name: found.pop(name) for name in LAST if name in found}
        return found | {name: value for name, value in last.items() if value is not None}


def known(label: T | None) -> T:
    """Return the label of a labelled example, which is never None."""
    assert label is not None
    return label
