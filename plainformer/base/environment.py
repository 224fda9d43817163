"""Read the environment variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK."""

import os

from plainformer.base.errors import UserError


def number_from_environment(name: str, default: int) -> int:
    """Read a whole number from the variable `name`, or `default` if it is not set.

    Raises:
        UserError: it is not a whole number from 0 to 999,999.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 6):
        raise UserError(
            f"the environment variable {name} must be a whole number, not {value[:40]!r}: unset "
            "it, or start with torchrun, which sets it"
        )
    return int(value)


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; 0 and 1 without torchrun.

    Raises:
        UserError: the two contradict each other.
    """
    rank, size = number_from_environment("RANK", 0), number_from_environment("WORLD_SIZE", 1)
    if rank >= size:
        raise UserError(
            f"the environment variables RANK={rank} and WORLD_SIZE={size} contradict each other: "
            "unset them, or start with torchrun, which sets them"
        )
    return rank, size
