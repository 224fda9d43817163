"""Which part a text belongs to: a hash of the text itself decides, so that repeats stay together.

    u(key) = blake2b(seed:key) / 2⁶⁴  ∈ [0, 1);   test: u < a,   valid: a ≤ u < a + b,   train: else

The part of a text depends on nothing but the text and the seed: not on its place in the file, not
on what else the file holds. `key` folds case, spacing and punctuation, so two texts that a reader
would call the same never stand on both sides.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def key(text: str) -> str:
    """Fold what does not tell two texts apart: width, case, spacing, punctuation."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def unit(text: str, seed: int = 0) -> float:
    """Map a text to a number in [0, 1), evenly over texts and always the same for one seed."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(text: str, share: float, seed: int = 1) -> bool:
    """Whether `text` falls among the `share` held out; copies of one text fall on one side.

    The seed is not the one that the named sets were split with: a part of them is split anew.
    """
    return unit(key(text), seed) < share


def split_by_hash(
    rows: Iterable[T], text: Callable[[T], str], valid: float, test: float, seed: int = 0
) -> dict[str, list[T]]:
    """Share rows out by the hash of their text's key; `valid` and `test` are fractions of 1.

    Each part comes in the order of the hash, so that its first rows are a fair sample of it.
    """
    parts: dict[str, list[T]] = {"train": [], "valid": [], "test": []}
    for u, row in sorted(((unit(key(text(row)), seed), row) for row in rows), key=lambda p: p[0]):
        parts["test" if u < test else "valid" if u < test + valid else "train"].append(row)
    return parts
