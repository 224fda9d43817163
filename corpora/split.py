"""Split texts into parts by a hash of the text, so that repeats stay together.

    u(key) = blake2b(seed:key) / 2⁶⁴  ∈ [0, 1);   test: u < a,   valid: a ≤ u < a + b,   train: else

The part of a text depends on the text and the seed alone, not on its position in the file or on
the other texts. Texts with the same `text_key` are duplicates. Texts with the same `outline` go
into the same part: all duplicates, and some near-duplicates.
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
"""Pattern of a word with its marks, or of one sign other than punctuation."""


def text_key(text: str) -> str:
    """Normalise width, case, spacing and punctuation, to find duplicate texts.

    Texts that differ in a combining mark or in another sign are not duplicates.

    >>> text_key("  The “Cat”,\\n sat.")
    'the cat sat'
    >>> text_key("C++") == text_key("C#"), text_key("दिन") == text_key("दीन")
    (False, False)
    """
    return " ".join(_COUNTING.findall(_folded(text)))


def outline(text: str) -> str:
    """Reduce a text to its letters and digits."""
    return " ".join(re.findall(r"\w+", _folded(text)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def unit(text: str, seed: int = 0) -> float:
    """Hash a text to a number in [0, 1), uniform over texts and fixed for each seed."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(text: str, share: float, seed: int = 1) -> bool:
    """Tell whether `text` belongs to the held-out `share`; duplicates get the same answer.

    The seed differs from that of the named sets, so that a part of such a set can be split again.
    """
    return unit(outline(text), seed) < share


def split_by_hash(
    rows: Iterable[T], text: Callable[[T], str], valid: float, test: float, seed: int = 0
) -> dict[str, list[T]]:
    """Split rows by the hash of their text's outline into train, `valid` and `test` (fractions).

    Each part is sorted by hash, so that its first rows are a random sample of it.
    """
    parts: dict[str, list[T]] = {"train": [], "valid": [], "test": []}
    for u, row in sorted(
        ((unit(outline(text(row)), seed), row) for row in rows), key=lambda p: p[0]
    ):
        parts["test" if u < test else "valid" if u < test + valid else "train"].append(row)
    return parts
