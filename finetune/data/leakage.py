"""Find texts that are both in the training and in the evaluation examples.

A score on a text that was learned says what is remembered, not what is understood. Two texts are
the same when their keys are (`corpora.split.key`: case, spacing and punctuation do not count); of
each, 8 bytes are kept.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Generic

import numpy as np

from plainformer.base import plural
from plainformer.corpora import text_key
from plainformer.finetune.data.example import ExampleT

NAMED = 5
"""labels that a warning names"""
SHOWN = 60
"""characters of a text that a warning shows"""


class Overlap(Generic[ExampleT]):
    """Counts what the training examples and others have in common: `add` these, one by one.

    `training` gives the training examples, each time it is called: what is kept of them is a hash
    of each text, and their labels.
    """

    def __init__(self, training: Callable[[], Iterable[ExampleT]]) -> None:
        self._training = training
        self._trained_labels: set[str | None] = set()
        self._labels: set[str | None] = set()
        self._learned = np.unique(np.fromiter(map(self._learn, training()), np.uint64))
        self.count = 0
        """examples so far"""
        self.common = 0
        """those of them whose text was trained on"""
        self.first: ExampleT | None = None
        """the first of these"""

    def _learn(self, example: ExampleT) -> int:
        self._trained_labels.add(example.category)
        return fingerprint(example.preview)

    def add(self, example: ExampleT) -> None:
        """Compare one example."""
        self.count += 1
        self._labels.add(example.category)
        number = np.uint64(fingerprint(example.preview))
        place = int(np.searchsorted(self._learned, number))
        if place < len(self._learned) and self._learned[place] == number:
            self.common += 1
            if self.first is None:
                self.first = example

    def warnings(self) -> tuple[str, ...]:
        """Return reasons to doubt the score, a sentence for each."""
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
    """Hash a text to 8 bytes by its key; by itself if it is all punctuation."""
    content = (text_key(text) or text).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def shortened(text: str) -> str:
    """Cut a long text to its beginning."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
