"""Random deletion (Wei & Zou 2019, arXiv:1901.11196).

    What is the capital of Ohio ?    →    What is the of Ohio ?

Of n words, max(1, α n) are left out, drawn without replacement, and each text keeps one. The tag of
a word goes with it, and what is left of an entity is tagged as an entity. Signs stay.
"""

from collections import Counter

import torch

from plainformer.finetune.augment.choose import free_places, number_of, shuffled
from plainformer.finetune.data.example import ExampleT


def delete_words(
    example: ExampleT, share: float = 0.1, generator: torch.Generator | None = None
) -> ExampleT:
    """Leave out `share` of the words of an example, at least one where a text has two."""
    words = example.to_words()
    places = free_places(words)
    left = Counter(words[place].part for place in places)
    count, deleted = number_of(words, share), set[int]()
    for place in shuffled(places, generator):
        if left[words[place].part] > 1 and len(deleted) < count:
            left[words[place].part] -= 1
            deleted.add(place)
    return example.with_words(tuple(w for n, w in enumerate(words) if n not in deleted))
