"""Random swap (Wei & Zou 2019, arXiv:1901.11196).

    What is the capital of Ohio ?    →    What of the capital is Ohio ?

Of n words, max(1, α n) pairs change places, each word at most once, within a text. A plain tag goes
with its word. The words of an entity stay where they are: an entity is a sequence.
"""

from dataclasses import replace

import torch

from plainformer.finetune.augment.choose import free_places, number_of, shuffled
from plainformer.finetune.data.example import ExampleT


def swap_words(
    example: ExampleT, share: float = 0.1, generator: torch.Generator | None = None
) -> ExampleT:
    """Let pairs of words change places: `share` of the number of words, at least one pair."""
    words = list(example.to_words())
    places, count = free_places(words), number_of(words, share)
    pairs: list[tuple[int, int]] = []
    waiting: dict[int, int] = {}  # text -> the place of a word that has no partner yet
    for place in shuffled(places, generator):
        word = words[place]
        if word.entity is None:
            other = waiting.setdefault(word.part, place)
            if words[other].text != word.text:
                pairs.append((waiting.pop(word.part), place))
    for one, other in pairs[:count]:
        first, second = words[one], words[other]
        words[one] = replace(second, space=first.space)
        words[other] = replace(first, space=second.space)
    return example.with_words(tuple(words))
