"""The exception for faults that the user can correct, and spelling suggestions."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

MAX_WORD_CHARACTERS, MAX_MESSAGE_CHARACTERS = 400, 900


class UserError(Exception):
    """An error that the user can correct: a path, a file, a label or a setting.

    The message names the fault (with file and line if there is one) and the remedy; long words and
    long messages are shortened. The command line prints it without a traceback and exits with code
    2. Any other exception is a bug.
    """

    def __init__(self, message: object = "") -> None:
        half = MAX_WORD_CHARACTERS // 2
        long_word = rf"(\S{{{half}}})\S{{{half},}}(\S{{40}})"
        text = re.sub(long_word, r"\1…\2", str(message))
        is_short = len(text) <= MAX_MESSAGE_CHARACTERS
        super().__init__(text if is_short else text[:MAX_MESSAGE_CHARACTERS] + "…")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Suggest the name in `known` closest to `given`: "; did you mean text?", or nothing."""
    near = closest(given, known)
    return "" if near is None else f"; did you mean {near}?"


def closest(given: str, known: Iterable[str]) -> str | None:
    """Find the name closest to `given`, ignoring case and surrounding white space.

    Initials are tried first: --lr means --learning-rate.
    """
    folded = {name.strip().casefold(): name for name in known}
    given = given.strip().casefold()
    for name in folded:
        words = name.strip("-").split("-")
        if len(words) > 1 and given.strip("-") == "".join(word[:1] for word in words):
            return folded[name]
    near = get_close_matches(given, folded, n=1)
    return folded[near[0]] if near else None
