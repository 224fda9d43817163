"""Replacement by synonyms from a list (Zhang et al. 2015, arXiv:1509.01626; EDA: arXiv:1901.11196).

    big, large, huge            a group of words or phrases of one meaning on each line,
    film, movie, motion picture    parted by tabs, or else by commas

    The big film    →    The big motion picture

Of n words, max(1, α n) that are in the list are each replaced by another word of its group, drawn
uniformly; a capital stays. The words of a phrase get the tag of the word they replace: a B- is
followed by I-. The longest phrase of the list is replaced as a whole.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from plainformer.base import UserError
from plainformer.corpora import read_lines
from plainformer.finetune.augment.choose import number_of, replaced, shuffled
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.words import Word, whole_words

Synonyms = Mapping[tuple[str, ...], Sequence[str]]
"""The words of a phrase, in small letters -> the phrases that may stand in its place."""


def read_synonyms(path: str | Path) -> Synonyms:
    """Read a list of synonyms; raise `UserError` by file and line for a line that is no group."""
    found: dict[tuple[str, ...], list[str]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        group = [phrase.strip() for phrase in line.split("\t" if "\t" in line.strip() else ",")]
        keys = [key_of(phrase) for phrase in group]
        for phrase, key in zip(group, keys, strict=True):
            if not any(map(str.isalnum, phrase)):
                raise UserError(f"{path}:{number}: {phrase!r} is no word: {line.strip()!r:.60}")
            if keys.count(key) > 1:
                raise UserError(f"{path}:{number}: {phrase!r} stands there twice")
        if len(group) < 2:
            raise UserError(
                f"{path}:{number}: {group[0]!r:.60} is alone: write the words of one meaning on a "
                "line, separated by tabs or commas"
            )
        for key in keys:
            found.setdefault(key, []).extend(p for p in group if key_of(p) != key)
    if not found:
        raise UserError(f"{path} has no synonyms")
    return found


def replace_synonyms(
    example: ExampleT,
    synonyms: Synonyms,
    share: float = 0.1,
    generator: torch.Generator | None = None,
) -> ExampleT:
    """Replace `share` of the words of an example by synonyms, at least one that has any."""
    words = list(example.to_words())
    chosen = shuffled(matches(words, synonyms), generator)[: number_of(words, share)]
    for start, end in sorted(chosen, reverse=True):
        others = synonyms[tuple(word.text.lower() for word in words[start:end])]
        drawn = int(torch.randint(len(others), (), generator=generator))
        words[start:end] = replaced(words[start], others[drawn])
    return example.with_words(tuple(words))


def matches(words: Sequence[Word], synonyms: Synonyms) -> list[tuple[int, int]]:
    """Find the phrases of the list in `words`, the longest at each place; they do not overlap."""
    longest, found, place = max(map(len, synonyms)), list[tuple[int, int]](), 0
    while place < len(words):
        for end in range(min(place + longest, len(words)), place, -1):
            phrase = words[place:end]
            key = tuple(word.text.lower() for word in phrase)
            if key in synonyms and are_together(phrase):
                found.append((place, end))
                place = end - 1
                break
        place += 1
    return found


def are_together(phrase: Sequence[Word]) -> bool:
    """Tell whether words may be replaced as one: of one text, and one entity or one tag."""
    first = phrase[0]
    return all(
        word.part == first.part
        and word.entity == first.entity
        and (word.tag == first.tag or word.entity is not None)
        and not word.is_fixed
        for word in phrase
    )


def key_of(phrase: str) -> tuple[str, ...]:
    """Return the words of a phrase in small letters."""
    return tuple(phrase[start:end].lower() for start, end in whole_words(phrase))
