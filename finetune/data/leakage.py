"""Find texts that are both in the training and in the evaluation examples.

A score on training texts measures memory, not generalisation. Two texts are equal if their keys are
(`corpora.text_key` ignores case, spacing and punctuation); a hash of 8 bytes is kept of each.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Generic

import numpy as np

from plainformer.base import plural
from plainformer.corpora import text_key
from plainformer.finetune.data.example import ExampleT

NAMED = 5
"""The most labels that a warning names."""
SHOWN = 60
"""The most characters of a text that a warning shows."""


class Overlap(Generic[ExampleT]):
    """A comparison of evaluation examples with training examples, by texts and by labels.

    Each call of `training` yields the training examples; a hash of each text and the set of labels
    are kept. `add` compares one evaluation example.
    """

    def __init__(self, training: Callable[[], Iterable[ExampleT]]) -> None:
        self._training = training
        self._trained_labels: set[str | None] = set()
        self._labels: set[str | None] = set()
        self._learned = np.unique(np.fromiter(map(self._learn, training()), np.uint64))
        self.count = 0
        """The number of evaluation examples so far."""
        self.common = 0
        """The number of evaluation examples whose text is a training text."""
        self.first: ExampleT | None = None
        """The first evaluation example whose text is a training text."""

    def _learn(self, example: ExampleT) -> int:
        self._trained_labels.add(example.category)
        return fingerprint(example.preview)

    def add(self, example: ExampleT) -> None:
        """Compare one evaluation example with the training examples."""
        self.count += 1
        self._labels.add(example.category)
        number = np.uint64(fingerprint(example.preview))
        place = int(np.searchsorted(self._learned, number))
        if place < len(self._learned) and self._learned[place] == number:
            self.common += 1
            if self.first is None:
                self.first = example

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about common texts and about labels of one side only."""
        found = []
        if self.first is not None:
            text = self.first.preview
            known = fingerprint(text)
            twin = next(e for e in self._training() if fingerprint(e.preview) == known)
            verb = "has" if self.common == 1 else "have"
            found.append(
                f"{self.common:,} of {plural(self.count, 'example')} {verb} a text that was "
                "trained on: the scores are better than they should be. The first is "
                f"{self.first.source}, as {twin.source}: {shortened(text)!r}"
            )
        for what, names in (
            ("only in the training examples", self._trained_labels - self._labels),
            ("only in the examples that are measured on", self._labels - self._trained_labels),
        ):
            labels = sorted(name for name in names if name is not None)
            if labels:
                named = ", ".join(repr(shortened(label)) for label in labels[:NAMED])
                more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
                found.append(f"labels that occur {what}: {named}{more}")
        return tuple(found)


def fingerprint(text: str) -> int:
    """Hash the key of a text to 8 bytes, or the text itself where its key is empty."""
    content = (text_key(text) or text).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def shortened(text: str) -> str:
    """Cut a text to `SHOWN` characters."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
