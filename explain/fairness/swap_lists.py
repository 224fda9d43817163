"""Read lists of words that stand for each other: those built in, or a file of the user's.

    he, she                  words of one line stand for each other; columns are the sides
    Mr, Mrs                  of several counterparts of a word the first is taken
    Mr, Ms
    Jan, Wei, Ahmed          there may be more than two sides
    其他                     a word alone is left as it is: no 他 is found in it
    # a remark

Tabs may stand for commas, and words in quotes, as tables have them.
Words are found whole, in any case, and keep it: HE becomes SHE. Characters of scripts without
spaces have no whole words; there the longest word of the list counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import regex

from plainformer.base import UserError, did_you_mean
from plainformer.base.words import unspaced_edges
from plainformer.corpora import read_lines

FOLDER = Path(__file__).parent / "words"
BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "pronouns": ("pronouns",),
    "words": ("words",),
    "names": ("names",),
    "gender": ("pronouns", "words", "names"),
}
"""The files of each built-in list."""

_LETTER = r"[\p{L}\p{M}\p{N}_--\p{Han}]"


@dataclass(frozen=True)
class SwapList:
    """Words on two or more sides, each with its counterparts."""

    name: str
    sides: tuple[str, ...]
    """The name of each side: its word on the first line."""
    side_of: Mapping[str, int]
    """The side of each word, case-folded; −1 for one that is left as it is."""
    counterparts: Mapping[str, tuple[str, ...]]
    """The word of each side in the place of a word case-folded."""

    @cached_property
    def pattern(self) -> "regex.Pattern[str]":
        """Compile the pattern that finds the words, the longest first."""
        words = sorted(self.side_of, key=len, reverse=True)
        return regex.compile("|".join(map(_whole, words)), regex.VERSION1 | regex.IGNORECASE)


def load_list(name: str) -> SwapList:
    """Load a built-in list or a file; raise `UserError` for one that cannot be used."""
    if name in BUILT_IN:
        return read_list(name, [FOLDER / f"{part}.txt" for part in BUILT_IN[name]])
    if not Path(name).expanduser().is_file():
        hint = did_you_mean(name, BUILT_IN) or f": choose {', '.join(BUILT_IN)}, or give a file"
        raise UserError(f"there is no list of words {name!r}{hint}")
    return read_list(Path(name).name, [Path(name).expanduser()])


def read_list(name: str, files: Sequence[Path]) -> SwapList:
    """Read the lines of files into one list."""
    sides: tuple[str, ...] = ()
    side_of: dict[str, int] = {}
    counterparts: dict[str, tuple[str, ...]] = {}
    for file in files:
        for number, line in read_lines(file):
            words = tuple(w.strip(' "\r\n') for w in line.replace("\t", ",").split(","))
            if line.lstrip().startswith("#") or not line.strip():
                continue
            place = f"{file}:{number}"
            if not all(words):
                raise UserError(f"{place}: a word is empty: {line.strip()!r:.60}")
            if len(words) > 1:
                sides = sides or words
                if len(words) != len(sides):
                    raise UserError(
                        f"{place}: {len(words)} words, where the first line has {len(sides)}: a "
                        "line has a word for each side"
                    )
            for side, word in enumerate(words if len(words) > 1 else ()):
                if side_of.setdefault(word.casefold(), side) != side:
                    raise UserError(f"{place}: {word!r} stands on two sides")
                counterparts.setdefault(word.casefold(), words)
            if len(words) == 1 and side_of.setdefault(words[0].casefold(), -1) != -1:
                raise UserError(f"{place}: {words[0]!r} stands alone and on a side")
    if not sides:
        raise UserError(f"{files[0]}: no line has two words that stand for each other: he, she")
    return SwapList(name, sides, side_of, counterparts)


def _whole(word: str) -> str:
    """Return the pattern of a word that is not a part of a longer one."""
    first, last = unspaced_edges(word)
    before = "" if first else rf"(?<!{_LETTER})"
    return before + str(regex.escape(word)) + ("" if last else rf"(?!{_LETTER})")
