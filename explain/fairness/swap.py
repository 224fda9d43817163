"""Write a text, or an example of any task, as if it were about another side of a list of words.

    He lost his bag; his wife found it.      →  he, she:     She lost her bag; her husband found it.

A text is of the side of its first word of the list. In its version for another side these two sides
are exchanged; the other words stay, and the version for its own side is the text itself.

English her is both his and him, and his is both her and hers. Where a noun may follow (anything but
a sign, the end, or one of `NOT_OWNED`), the word is taken to own it. That is right in most
sentences, not in all: "gave her flowers" becomes "gave his flowers".
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import regex

from plainformer.base.words import join_words
from plainformer.explain.fairness.swap_lists import SwapList
from plainformer.finetune.tasks.question_answering import QuestionExample
from plainformer.finetune.tasks.relation import RelationExample
from plainformer.finetune.tasks.tagging.sentences import Sentence

OWNING = {"her": "his", "his": "her"}
"""The counterparts of words before what they own."""
NOT_OWNED = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "my", "your", "our", "their", "its",
    "his", "her", "and", "or", "but", "nor", "so", "if", "because", "as", "than", "then",
    "when", "while", "where", "who", "whom", "whose", "which", "what", "how", "why", "to",
    "of", "in", "on", "at", "by", "for", "from", "with", "without", "about", "into", "onto",
    "over", "under", "up", "down", "out", "off", "away", "back", "through", "after", "before",
    "again", "until", "since", "during", "between", "among", "is", "are", "was", "were", "be",
    "been", "am", "do", "does", "did", "has", "have", "had", "can", "could", "will", "would",
    "shall", "should", "may", "might", "must", "not", "never", "always", "often", "now",
    "today", "tomorrow", "yesterday", "tonight", "here", "there", "too", "also", "either",
    "both", "i", "you", "he", "she", "it", "we", "they", "me", "him", "us", "them",
    "himself", "herself",
))  # fmt: skip
"""Words with which no noun phrase begins, so that nothing before them is owned."""
_NEXT = regex.compile(r"""\s+["'“‘]?(?P<word>[\p{L}\p{N}]+)""")


class Edit(NamedTuple):
    """A change of a text: `text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


Edits = Sequence[Edit]


def edits_of(text: str, swaps: SwapList, sides: tuple[int, int]) -> list[Edit]:
    """Return the changes that exchange two sides in a text; none of a side with itself."""
    found = []
    for match in swaps.pattern.finditer(text):
        word = match.group()
        own = swaps.side_of.get(word.casefold(), -1)
        if own in sides and sides[0] != sides[1]:
            other = sides[0] if own == sides[1] else sides[1]
            new = in_case_of(word, counterpart(match, swaps, other))
            found.append(Edit(match.start(), match.end(), new))
    return found


def counterpart(match: "regex.Match[str]", swaps: SwapList, side: int) -> str:
    """Return the word of a side in the place of a word."""
    word = match.group().casefold()
    owning = OWNING.get(word, "")
    if swaps.side_of.get(owning) == side:
        after = _NEXT.match(match.string, match.end())
        if after is not None and after["word"].casefold() not in NOT_OWNED:
            return owning
    return swaps.counterparts[word][side]


def in_case_of(word: str, other: str) -> str:
    """Write a word in the case of the one that it replaces.

    >>> in_case_of("He", "she"), in_case_of("HE", "she"), in_case_of("he", "she")
    ('She', 'SHE', 'she')
    """
    if word.isupper() and len(word) > 1:
        return other.upper()
    if word[:1].isupper():
        return other[:1].upper() + other[1:]
    return other.lower() if word.islower() else other


def apply(text: str, edits: Edits) -> str:
    """Apply changes to a text."""
    starts = [0, *(edit.end for edit in edits)]
    ends = [*(edit.start for edit in edits), len(text)]
    kept = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    news = [edit.new for edit in edits]
    return kept[0] + "".join(new + part for new, part in zip(news, kept[1:], strict=True))


def moved(span: tuple[int, int], edits: Edits) -> tuple[int, int]:
    """Return where a span of a text is after changes; one that cuts a change takes it in."""
    start, end = span
    longer = [(edit, len(edit.new) - (edit.end - edit.start)) for edit in edits]
    begin = min([start, *(edit.start for edit in edits if edit.start < start < edit.end)])
    last = max([end, *(edit.end for edit in edits if edit.start < end < edit.end)])
    first = begin + sum(more for edit, more in longer if edit.end <= begin)
    return first, last + sum(more for edit, more in longer if edit.end <= last)


def inverse(edits: Edits, text: str) -> list[Edit]:
    """Return the changes that undo some changes of a text."""
    found, shift = [], 0
    for start, end, new in edits:
        found.append(Edit(start + shift, start + shift + len(new), text[start:end]))
        shift += len(new) - (end - start)
    return found


def texts_of(example: Any) -> tuple[str, ...]:
    """Return the texts of an example in which words are swapped."""
    if isinstance(example, Sentence | RelationExample):
        return (example.text,)
    if isinstance(example, QuestionExample):
        return (example.question, example.context)
    texts: tuple[str, ...] = example.texts
    return texts


def side_of(example: Any, swaps: SwapList) -> int | None:
    """Return the side of the first word of the list in an example; None where there is none."""
    for text in texts_of(example):
        for match in swaps.pattern.finditer(text):
            side = swaps.side_of.get(match.group().casefold(), -1)
            if side >= 0:
                return side
    return None


def version(example: Any, swaps: SwapList, sides: tuple[int, int]) -> Any:
    """Return the example with two sides exchanged."""
    every = [edits_of(text, swaps, sides) for text in texts_of(example)]
    texts = [apply(text, edits) for text, edits in zip(texts_of(example), every, strict=True)]
    if isinstance(example, Sentence):
        return _sentence(example, every[0])
    if isinstance(example, RelationExample):
        head, tail = (moved(span, every[0]) for span in (example.head, example.tail))
        return replace(example, text=texts[0], head=head, tail=tail)
    if isinstance(example, QuestionExample):
        return replace(example, question=texts[0], context=texts[1])
    return example.with_texts(texts)


def _sentence(example: Sentence, edits: Edits) -> Sentence:
    """Return a sentence with other words; it keeps their number.

    A change of several words changes each; it is left out where it has no part for each.
    """
    words = list(example.words)
    for start, end, new in reversed(edits):
        spans = {n: (a, b) for n, (a, b) in enumerate(example.offsets) if a < end and start < b}
        if len(spans) == 1:
            ((place, (a, _)),) = spans.items()
            words[place] = example.text[a:start] + new + words[place][end - a :]
            continue
        parts = new.split()
        if len(new) == end - start:
            parts = [new[a - start : b - start] for a, b in spans.values()]
        if spans and len(parts) == len(spans):  # a text may have more than the given words
            words[min(spans) : max(spans) + 1] = parts
    text, offsets = join_words(tuple(words))
    return replace(example, words=tuple(words), text=text, offsets=tuple(offsets))
