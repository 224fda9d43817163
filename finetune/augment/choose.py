"""Choose the words of an example that a method changes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from plainformer.finetune.data.words import Word, split_text

T = TypeVar("T")


def free_places(words: Sequence[Word]) -> list[int]:
    """Return the indices of the words that may be changed."""
    return [place for place, word in enumerate(words) if word.is_free]


def number_of(words: Sequence[Word], share: float) -> int:
    """Return how many words are `share` of those that may be changed; at least one, if any."""
    return max(1, round(share * len(free_places(words)))) if share else 0


def replaced(word: Word, text: str) -> list[Word]:
    """Return the words of `text` in place of `word`, with its tag and within its entity."""
    if word.text[:1].isupper():
        text = text[:1].upper() + text[1:]
    first, *others = split_text(text)
    return [
        replace(word, text=other.text, space=space)
        for other, space in ((first, word.space), *((other, other.space) for other in others))
    ]


def shuffled(values: Sequence[T], generator: torch.Generator | None) -> list[T]:
    """Return the values in random order."""
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]
