"""Split the texts of an example into words that can be changed, and write changed words back.

    The cat, don't!    →    The   ␣cat   ,   ␣don't   !        each word with the space before it

The words are those of `base.words`; a sign inside a word, as in don't or 3.14, is a part of it. A
span that has to stay as it is (an answer, an entity), and the words that it touches, are one fixed
word: whatever changes around it, it is found again by its number among the fixed words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plainformer.base.words import KIND, words_of

Span = tuple[int, int]

PREFIXES = "'’"
"""Signs that belong to the letters behind them: 's."""
INNER = f"{PREFIXES}.-"
"""Signs that belong to the letters around them: don't, 3.14, well-known."""


@dataclass(frozen=True)
class Word:
    """A word of an example, or a sign, and what has to stay with it."""

    text: str
    space: str = ""
    """The white space before it."""
    part: int = 0
    """The number of its text among those of the example."""
    tag: str = ""
    """Its tag, where words are tagged."""
    entity: int | None = None
    """The number of the tagged entity that it is a part of."""
    is_fixed: bool = False
    """True for an answer, or the head or tail of a relation, which never change."""

    @property
    def is_free(self) -> bool:
        """Tell whether the word may be changed: it has a letter or a digit, and is not fixed."""
        return not self.is_fixed and any(map(str.isalnum, self.text))

    @property
    def is_untagged(self) -> bool:
        """Tell whether the word has no tag that says what it is."""
        return self.entity is None and self.tag in ("", "O")


Words = tuple[Word, ...]


def whole_words(text: str) -> list[Span]:
    """Find the words of a text, each with the signs inside it."""
    found: list[Span] = []
    for start, end in words_of(text):
        if found and found[-1][1] == start and KIND[text[start]] == "letter":
            sign, before = text[slice(*found[-1])], found[-2] if len(found) > 1 else (-1, -1)
            is_inside = before[1] == found[-1][0] and KIND[text[before[0]]] == "letter"
            if sign in PREFIXES or (sign in INNER and is_inside):
                start = found.pop()[0]
                if is_inside:
                    start = found.pop()[0]
        found.append((start, end))
    return found


def split_text(text: str, part: int = 0, fixed: Iterable[Span] = ()) -> list[Word]:
    """Split a text into words; each span of `fixed`, with the words it touches, is a fixed word."""
    words, last = [], 0
    for start, end, is_fixed in _with_fixed(text, fixed):
        words.append(Word(text[start:end], text[last:start], part, is_fixed=is_fixed))
        last = end
    return words


def _with_fixed(text: str, fixed: Iterable[Span]) -> list[tuple[int, int, bool]]:
    """Return the words of a text in order; those that overlap with a fixed span are one."""
    pieces = [(*span, False) for span in whole_words(text)] + [(*span, True) for span in fixed]
    found: list[tuple[int, int, bool]] = []
    for start, end, is_fixed in sorted(pieces):
        if found and start < found[-1][1]:
            begin, before, was_fixed = found.pop()
            start, end, is_fixed = begin, max(before, end), was_fixed or is_fixed
        found.append((start, end, is_fixed))
    return found


def join_text(words: Iterable[Word]) -> tuple[str, list[Span]]:
    """Join words into a text, and return the span of each; white space at its ends is left out.

    A space is added where two words would become one.
    """
    text, last, spans = "", "", list[Span]()
    for word in words:
        space = word.space if spans else ""
        if not space and spans:
            found = whole_words(last + word.text)
            space = " " * any(start < len(last) < end for start, end in found)
        text += space + word.text
        spans.append((len(text) - len(word.text), len(text)))
        last = word.text
    return text, spans


def move_spans(text: str, spans: Sequence[Span], words: Iterable[Word]) -> tuple[str, list[Span]]:
    """Join the changed `words` of a text, and return where its fixed `spans` are now."""
    changed = list(words)
    now, places = join_text(changed)
    fixed = [place for place, word in zip(places, changed, strict=True) if word.is_fixed]
    before = [(start, end) for start, end, is_fixed in _with_fixed(text, spans) if is_fixed]
    shifts = [(start, new[0] - start) for (start, _), new in zip(before, fixed, strict=True)]
    moved = []
    for start, end in spans:
        shift = next(shift for begin, shift in reversed(shifts) if begin <= start)
        moved.append((start + shift, end + shift))
    return now, moved


def of_part(words: Iterable[Word], part: int) -> list[Word]:
    """Return the words of one text."""
    return [word for word in words if word.part == part]
