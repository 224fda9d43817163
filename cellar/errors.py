"""The one exception that is meant for a person."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_WORD, LONGEST = 400, 900
"""characters: what a file holds, and a message repeats, may be of any length"""


class UserError(Exception):
    """Something that the user can put right: a path, a file, a label, a setting.

    The message names the fault (with file and line where there is one) and what to do; a long word
    in it is shortened, and so is the whole. The command line prints it without a traceback and
    leaves with exit code 2. A bug is any other exception.
    """

    def __init__(self, message: object = "") -> None:
        long_word = rf"(\S{{{LONGEST_WORD // 2}}})\S{{{LONGEST_WORD // 2},}}(\S{{40}})"
        text = re.sub(long_word, r"\1…\2", str(message))
        super().__init__(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Give "; did you mean text?" where one of `known` is near to `given`, else nothing."""
    near = closest(given, known)
    return "" if near is None else f"; did you mean {near}?"


def closest(given: str, known: Iterable[str]) -> str | None:
    """Find the name nearest to `given`, whatever its case and the white space around it."""
    folded = {name.strip().casefold(): name for name in known}
    near = get_close_matches(given.strip().casefold(), folded, n=1)
    return folded[near[0]] if near else None
