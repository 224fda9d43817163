"""Put a character into words that is not seen: a joiner or a soft hyphen (Boucher et al. 2021,
arXiv:2106.09898).

    paypal    →    pay<U+2060>pal

One in each word, between two of its characters. The zero-width space is not among them: it parts
words, as a space does.
"""

import torch

from plainformer.explain.stress.choose import altering, draw

INVISIBLE = "\u00ad\u200c\u200d\u2060"
"""Soft hyphen, zero-width non-joiner and joiner, word joiner."""


def with_invisible(word: str, generator: torch.Generator) -> str:
    """Put an invisible character between two characters of a word."""
    if len(word) < 2:
        return word
    place = draw(range(1, len(word)), generator)
    return word[:place] + draw(INVISIBLE, generator) + word[place:]


invisible = altering(with_invisible)
