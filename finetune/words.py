"""The words of a text, and the text of words.

A word is a run of letters, digits, marks and underscores, a single other sign, or a single
character of a script that writes without spaces (Chinese, Japanese). White space parts words.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

_ALONE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
_JOINERS = "\u200c\u200d"  # within words of Persian and of the scripts of India


def split_words(text: str) -> list[tuple[int, int]]:
    """The words of a text as offsets: `text[start:end]`."""
    words: list[tuple[int, int]] = []
    before = "space"
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == "mark":  # it belongs to what it stands on
            kind = before if before != "space" else "sign"
            joins = before != "space"
        else:
            joins = kind == before == "letter"
        if joins:
            words[-1] = (words[-1][0], place + 1)
        elif kind != "space":
            words.append((place, place + 1))
        before = kind
    return words


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of words, and where each stands in it.

    Words stand a space apart, but for two characters of a script that writes without.
    """
    text = words[0] if words else ""
    offsets = [(0, len(text))] if words else []
    for before, word in pairwise(words):
        apart = not (_ALONE.fullmatch(before) and _ALONE.fullmatch(word))
        start = len(text) + apart
        text += " " * apart + word
        offsets.append((start, start + len(word)))
    return text, offsets


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    if unicodedata.category(character).startswith("M") or character in _JOINERS:
        return "mark"
    if _ALONE.match(character):
        return "alone"
    return "letter" if character.isalnum() or character == "_" else "sign"
