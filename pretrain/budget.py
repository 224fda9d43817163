"""Parse a budget: a time on this machine, or a number of floating-point operations."""

import math
import re
from dataclasses import dataclass

from plainformer.base import UserError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Budget:
    """A time on this machine, or a number of floating-point operations."""

    seconds: float | None = None
    flops: float | None = None

    @classmethod
    def of(cls, text: str) -> "Budget":
        """Parse `30m` or `1e17`; raise `UserError` for anything else."""
        found = re.fullmatch(r"(\d+\.?\d*(?:e\+?\d+)?)([smhd]?)", text.strip().lower())
        number = float(found[1]) if found else 0.0
        if not found or not 0 < number < math.inf:
            raise UserError(
                f"budget must be a time (90s, 30m, 2h, 1d) or a number of operations (1e17), not "
                f"{text!r}"
            )
        return cls(seconds=number * UNITS[found[2]]) if found[2] else cls(flops=number)
