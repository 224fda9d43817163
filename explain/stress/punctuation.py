"""Leave out punctuation, or add some.

    Who, then, was he?    →    Who then was he    Who, then! was he?

A sign within an entity stays, and none is added behind a word with a tag of its own: a new sign is
tagged as what it follows, O. Each text keeps a word.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from plainformer.base.words import unspaced_edges
from plainformer.explain.stress.choose import draw, some
from plainformer.finetune.augment.choose import free_places

ADDED = ",.;:!?…"
ADDED_TO_CHINESE = "，。；：！？、"
SIGNS = frozenset(ADDED + ADDED_TO_CHINESE + "'\"’‘”“«»()[]{}–—-·（）《》〈〉「」『』【】")
"""The signs that may be left out without another meaning, such as % or @ would have."""


def remove_punctuation(example: Any, share: float, generator: torch.Generator) -> Any:
    """Leave out a share of the signs."""
    words = example.to_words()
    left = Counter(word.part for word in words)
    places = [
        place
        for place, word in enumerate(words)
        if SIGNS.issuperset(word.text) and not word.is_fixed and word.entity is None
    ]
    removed = set[int]()
    for place in some(places, share, generator):
        if left[words[place].part] > 1:
            left[words[place].part] -= 1
            removed.add(place)
    return example.with_words(tuple(w for n, w in enumerate(words) if n not in removed))


def add_punctuation(example: Any, share: float, generator: torch.Generator) -> Any:
    """Add a sign behind a share of the words."""
    words = list(example.to_words())
    places = [place for place in free_places(words) if words[place].is_untagged]
    for place in sorted(some(places, share, generator), reverse=True):
        word = words[place]
        signs = ADDED_TO_CHINESE if unspaced_edges(word.text)[1] else ADDED
        words.insert(place + 1, replace(word, text=draw(signs, generator), space=""))
    return example.with_words(tuple(words))
