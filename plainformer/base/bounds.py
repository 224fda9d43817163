"""Check numeric settings against bounds, and describe the bounds in errors.

    check_bounds(self, steps=at_least(1), warmup=between(0, 1), learning_rate=above(0))

Numbers that are not finite, and whole numbers beyond `MAX_WHOLE`, are never accepted: they are
typos that would exhaust memory or time.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from plainformer.base.errors import UserError
from plainformer.base.json_reader import MAX_WHOLE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Bounds:
    """The numbers from `least` to `most`, endpoints excluded where open."""

    least: float
    most: float = MAX_WHOLE
    least_is_open: bool = False
    most_is_open: bool = False

    def hold(self, value: Any) -> bool:
        """Tell whether a number, or every number of a tuple, is within the bounds."""
        if isinstance(value, tuple):
            return all(map(self.hold, value))
        if not isinstance(value, int | float) or not -MAX_WHOLE <= value <= MAX_WHOLE:
            return False
        low = self.least < value if self.least_is_open else self.least <= value
        return low and (value < self.most if self.most_is_open else value <= self.most)

    def __str__(self) -> str:
        """Describe the bounds: "at least 1", "above 0", "from 0 to below 1"."""
        least, most = f"{self.least:,}", f"{self.most:,}"
        if self.most == MAX_WHOLE:
            return f"above {least}" if self.least_is_open else f"at least {least}"
        if self.least_is_open and self.most_is_open:
            return f"between {least} and {most}"
        if self.least_is_open:
            return f"above {least} and at most {most}"
        return f"from {least} to {'below ' * self.most_is_open}{most}"


def at_least(least: float) -> Bounds:
    """Accept `least` and greater numbers."""
    return Bounds(least)


def above(least: float, most: float = MAX_WHOLE) -> Bounds:
    """Accept numbers greater than `least`, up to `most`."""
    return Bounds(least, most, least_is_open=True)


def between(least: float, most: float, *, open_: str = "") -> Bounds:
    """Accept `least` to `most`; `open_` names the excluded endpoints: "[", "]" or both."""
    return Bounds(least, most, "[" in open_, "]" in open_)


def check_bounds(settings: object, **bounds: Bounds) -> None:
    """Raise `UserError` for a setting that is out of its bounds; None is accepted.

    Raises:
        UserError: "steps must be at least 1, not 0".
    """
    for name, bound in bounds.items():
        value = getattr(settings, name)
        if value is None or bound.hold(value):
            continue
        shown = str(value) if len(str(value)) <= 40 else f"{str(value)[:40]}…"
        numbers = value if isinstance(value, tuple) else (value,)
        too_large = bound.most == MAX_WHOLE and any(n > MAX_WHOLE for n in numbers)
        limit = f" and at most {MAX_WHOLE:,}" if too_large else ""
        finite = all(map(math.isfinite, numbers))
        expected = f"{bound}{limit}" if finite else f"a finite number, {bound}"
        raise UserError(f"{name} must be {expected}, not {shown}")


def refuse_unused(options: "DataclassInstance", names: Collection[str], method: str) -> None:
    """Raise `UserError` for an option of a method that is off, where it is not the default."""
    for given in fields(options):
        value = getattr(options, given.name)
        if given.name in names and value != given.default:
            raise UserError(f"{given.name} is an option of {method}: give both, or neither")
