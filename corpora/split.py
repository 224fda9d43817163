"""Split texts into parts by a hash of the text, so that repeats stay together.

    u(key) = blake2b(seed:key) / 2⁶⁴  ∈ [0, 1);   test: u < a,   valid: a ≤ u < a + b,   train: else

The part of a text depends on nothing but the text and the seed: not on its place in the file, not
on what else the file holds. Two texts are the same when their `key` is. They fall on one side when
their `outline` is: all that are the same do, and some that nearly are.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

import regex

T = TypeVar("T")

_PUNCTUATION = r"\p{Terminal_Punctuation}\p{Quotation_Mark}\p{Dash}\p{Ps}\p{Pe}\p{Pi}\p{Pf}¡¿…·•"
_COUNTING = regex.compile(
    rf"[\p{{L}}\p{{N}}_\p{{M}}\p{{Cf}}]+|[^\s\p{{Cc}}{_PUNCTUATION}]", regex.VERSION1
)
"""Words with their marks, and signs other than punctuation."""


def key(text: str) -> str:
    """Normalise width, case, spacing and punctuation, to find texts that are the same.

    Marks and other signs do tell them apart.

    >>> key("  The “Cat”,\\n sat."), key("C++") == key("C#"), key("दिन") == key("दीन")
    ('the cat sat', False, False)
    """
    return " ".join(_COUNTING.findall(_folded(text)))


def outline(text: str) -> str:
    """Reduce a text to its letters and digits."""
    return " ".join(re.findall(r"\w+", _folded(text)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def unit(text: str, seed: int = 0) -> float:
    """Map a text to a number in [0, 1), evenly over texts and always the same for one seed."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(text: str, share: float, seed: int = 1) -> bool:
    """Whether `text` falls among the `share` held out; copies of one text fall on one side.

    The seed is not the one that the named sets were split with: a part of them is split anew.
    """
    return unit(outline(text), seed) < share


def split_by_hash(
    rows: Iterable[T], text: Callable[[T], str], valid: float, test: float, seed: int = 0
) -> dict[str, list[T]]:
    """Split rows by the hash of their text's outline; `valid` and `test` are fractions of 1.

    Each part is sorted by hash, so that its first rows are a random sample of it.
    """
    parts: dict[str, list[T]] = {"train": [], "valid": [], "test": []}
    for u, row in sorted(
        ((unit(outline(text(row)), seed), row) for row in rows), key=lambda p: p[0]
    ):
        parts["test" if u < test else "valid" if u < test + valid else "train"].append(row)
    return parts
