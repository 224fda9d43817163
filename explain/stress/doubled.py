"""Write words twice.

    the capital of Ohio    →    the the capital of Ohio    →    the the capital of of Ohio

The copy has the tag of its word. The words of an entity stay: nobody can say whether Ohio Ohio are
one or two.
"""

from dataclasses import replace
from typing import Any

import torch

from plainformer.base.words import are_joined
from plainformer.explain.stress.choose import some
from plainformer.finetune.augment.choose import free_places


def double_words(example: Any, share: float, generator: torch.Generator) -> Any:
    """Write a share of the words twice."""
    words = list(example.to_words())
    places = [place for place in free_places(words) if words[place].entity is None]
    for place in sorted(some(places, share, generator), reverse=True):
        word = words[place]
        space = "" if are_joined(word.text, word.text) else " "
        words.insert(place + 1, replace(word, space=space))
    return example.with_words(tuple(words))
