"""Choose words of an example by chance, and alter each by a function of its text."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from plainformer.finetune.augment.choose import free_places, number_of, shuffled

T = TypeVar("T")
Change = Callable[[Any, float, torch.Generator], Any]
"""`change(example, share, generator)` -> the example with this share of its words changed."""
Alter = Callable[[str, torch.Generator], str]
"""`alter(word, generator)` -> another spelling of a word, or the same where there is none."""


def altering(alter: Alter) -> Change:
    """Return the change that alters a share of the words, drawn from those that have a letter or a
    digit and are no answer; words that `alter` leaves as they are do not count.
    """

    def change(example: Any, share: float, generator: torch.Generator) -> Any:
        words = list(example.to_words())
        left = number_of(words, share)
        for place in shuffled(free_places(words), generator):
            if not left:
                break
            text = alter(words[place].text, generator)
            left -= text != words[place].text
            words[place] = replace(words[place], text=text)
        return example.with_words(tuple(words))

    return change


def some(places: Sequence[int], share: float, generator: torch.Generator) -> list[int]:
    """Draw a share of the places, at least one unless the share is 0."""
    count = max(1, round(share * len(places))) if share else 0
    return shuffled(places, generator)[:count]


def draw(values: Sequence[T], generator: torch.Generator) -> T:
    """Draw one of the values, each with the same probability."""
    return values[int(torch.randint(len(values), (), generator=generator))]
