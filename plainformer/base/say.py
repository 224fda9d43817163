"""Print what a run has to say to its user."""

import sys
from collections.abc import Iterable


def say(lines: Iterable[str], quiet: bool = False) -> None:
    """Print lines on standard error, unless `quiet`."""
    for line in () if quiet else lines:
        print(line, file=sys.stderr)
