"""Replacement by the guesses of a masked language model (Kobayashi 2018, arXiv:1805.06201; with
BERT: Wu et al. 2018, arXiv:1812.06705).

    The [MASK] is good    →    p = softmax(logits at [MASK])    →    The story is good

Of n words, max(1, α n) are masked together, and a guess is drawn for each. The label is kept,
whether or not the guess goes with it: a model that was fine-tuned before may check it (`check.py`).
Words that have a tag of their own, or are a part of an entity, are not masked.
"""

from itertools import groupby

import torch

from plainformer.base.words import is_of_letters
from plainformer.finetune.augment.choose import free_places, number_of, replaced, shuffled
from plainformer.finetune.augment.guesser import Guesser
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.words import Word


def guess_words(
    example: ExampleT,
    guesser: Guesser,
    share: float = 0.1,
    generator: torch.Generator | None = None,
) -> ExampleT:
    """Replace `share` of the words of an example by guesses from their context, at least one."""
    words = example.to_words()
    places = [
        place
        for place in free_places(words)
        if words[place].is_untagged and is_of_letters(words[place].text)
    ]
    masked = sorted(shuffled(places, generator)[: number_of(words, share)])
    changed: list[Word] = []
    begin = 0
    for _, part in groupby(words, lambda word: word.part):
        text = list(part)
        own = [place - begin for place in masked if begin <= place < begin + len(text)]
        logits = guesser.guesses(text, own)
        for place, word in enumerate(text):
            guess = guesser.draw(logits[place], word.text, generator) if place in logits else ""
            changed += replaced(word, guess) if guess else [word]
        begin += len(text)
    return example.with_words(tuple(changed))
