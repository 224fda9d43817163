"""Find the words of a text in any script, by the properties of Unicode (UAX #24, #29, #44).

    word   letters, digits and connectors in a row, each with its marks:   don|'|t   दिन   한국어
           one character of Chinese or Japanese, with its marks:          我|们   が
           one other sign, with its marks; a flag; emoji that are joined: ,   👍🏽   👨‍👩‍👧

A mark is a character that UAX #29 never separates from the one before it (`Word_Break` Extend,
Format, ZWJ): accents, vowel signs, points, joiners, skin tones. Thai, Lao, Khmer and Burmese also
write no spaces between words, and only a dictionary could split them: there the text between two
spaces is one word.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import regex

HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
"""Chinese characters, for use inside the [] of any regex engine."""

_MARK = r"\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}"
_SPACE = r"\s\x1c-\x1f\u200b"
_ALONE = rf"{HAN}\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Bopomofo}}\u3031-\u3035\u30fc\uff70"
_LETTER = rf"[\p{{L}}\p{{N}}\p{{Pc}}{_MARK}]--[{_ALONE}]"
_PICTURE = r"\p{Extended_Pictographic}"

WORD = regex.compile(
    rf"(?P<letter>[{_LETTER}--[{_MARK}]][{_LETTER}]*)|(?P<mark>[{_MARK}]+)"
    rf"|(?P<alone>[{_ALONE}][{_MARK}]*)"
    rf"|(?P<sign>(?:\p{{RI}}\p{{RI}}|{_PICTURE}[{_MARK}]*(?:(?<=\u200d){_PICTURE}[{_MARK}]*)*"
    rf"|[^{_SPACE}])[{_MARK}]*)",
    regex.VERSION1,
)
"""A pattern of one word; the name of the matching group is its kind."""

UNSPACED = regex.compile(
    rf"[{_ALONE}\u3000-\u303f\u30fb\uff01-\uff65\p{{Yi}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}"
    r"\p{Myanmar}\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}"
    r"\p{Balinese}]",
    regex.VERSION1,
)
"""A pattern of one character of a script that writes words without spaces."""

MAX_CLUSTER_CHARACTERS = 32
_ENDS_UNSPACED = regex.compile(rf"{UNSPACED.pattern}[{_MARK}]*\Z", regex.VERSION1)
_NOT_ALL_LETTERS = regex.compile(rf"[^\p{{L}}{_MARK}]", regex.VERSION1)

_ASCII_WORD = re.compile(r"\w+|[^\w\s]")

Kind = Literal["letter", "mark", "alone", "sign", "space"]


class _Kinds(dict[str, Kind]):
    def __missing__(self, character: str) -> Kind:
        found = WORD.fullmatch(character)
        self[character] = found.lastgroup if found else "space"
        return self[character]


KIND: dict[str, Kind] = _Kinds()
"""The kind of word that begins with a character; "mark" and "space" begin none."""


def words_of(text: str) -> list[tuple[int, int]]:
    """Find the words of a text; return their offsets, as in `text[start:end]`."""
    words = _ASCII_WORD if text.isascii() else WORD
    return [found.span() for found in words.finditer(text)]


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join words into a text, and return the offsets of each.

    Words are separated by a space, except between two of a script without spaces.
    """
    text = words[0] if words else ""
    offsets = [(0, len(text))] if words else []
    for before, word in pairwise(words):
        start = len(text) + (not are_joined(before, word))
        text = text.ljust(start) + word
        offsets.append((start, start + len(word)))
    return text, offsets


def are_joined(before: str, word: str) -> bool:
    """Tell whether two consecutive words are written without a space between them.

    >>> are_joined("王", "小"), are_joined("the", "house"), are_joined("王", "2")
    (True, False, False)
    """
    return unspaced_edges(before)[1] and unspaced_edges(word)[0]


@lru_cache(maxsize=1 << 16)
def unspaced_edges(word: str) -> tuple[bool, bool]:
    """Tell whether the first, and whether the last character is of a script without spaces."""
    return bool(UNSPACED.match(word)), bool(_ENDS_UNSPACED.search(word[-MAX_CLUSTER_CHARACTERS:]))


def cut_at_spaces(text: str, longest: int) -> Iterator[str]:
    """Split a text before spaces into parts of at most `longest` characters.

    >>> list(cut_at_spaces("to be or not", 6))
    ['to be', ' or', ' not']
    """
    start = 0
    while len(text) - start > longest:
        space = text.rfind(" ", start + 1, start + longest + 1)
        end = start + longest if space < 0 else space
        yield text[start:end]
        start = end
    yield text[start:]


def is_of_letters(word: str) -> bool:
    """Tell whether a word consists of letters and their marks only."""
    return bool(word) and KIND[word[0]] in ("letter", "alone") and not _NOT_ALL_LETTERS.search(word)
