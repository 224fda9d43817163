"""Mistype words: a key beside the right one, two letters swapped, one dropped or doubled.

    keyboard    →    keyboatd    kyeboard    keybard    keyyboard

One mistake a word, each kind with the same probability, on a QWERTY keyboard (Belinkov & Bisk 2018,
arXiv:1711.02173; Pruthi et al. 2019, arXiv:1905.11268). Words with fewer than two Latin letters,
numbers and Chinese characters stay: `chinese.py` has the mistakes of Chinese.
"""

import torch

from plainformer.explain.stress.choose import altering, draw

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""The letters of a keyboard; each row is shifted by half a key against the one above."""
AROUND = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
"""The keys that touch a key: rows down, columns to the right."""
_KEYS = {(row, column): key for row, keys in enumerate(ROWS) for column, key in enumerate(keys)}
NEIGHBOURS = {
    key: [_KEYS[row + down, column + right] for down, right in AROUND
          if (row + down, column + right) in _KEYS]
    for (row, column), key in _KEYS.items()
}  # fmt: skip
"""The keys beside each key."""


def mistype(word: str, generator: torch.Generator) -> str:
    """Make one mistake in a word of two letters or more."""
    places = [place for place, letter in enumerate(word) if letter.lower() in NEIGHBOURS]
    if len(places) < 2:
        return word
    place = draw(places, generator)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    near = draw(NEIGHBOURS[letter.lower()], generator)
    beside = before + (near.upper() if letter.isupper() else near) + after
    is_swapped = place + 1 in places and letter != after[0]
    swapped = before + after[0] + letter + after[1:] if is_swapped else beside
    return draw((beside, swapped, before + after, before + letter * 2 + after), generator)


mistype_words = altering(mistype)
