"""Read the group of each row: the value of one column, or of several crossed.

A row without a value, or with a cell such as NA that may stand for none, is in no group.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.finetune.data.groups import group_of, no_column

CROSSED = " × "
LISTED = 5
"""The most groups that a message names."""
LONGEST = 30
"""The most characters of a group that a message shows."""


@dataclass
class Groups:
    """The groups of a column, or of several crossed, in the order of the rows."""

    columns: tuple[str, ...]
    of_rows: list[str | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the column, or of all."""
        return CROSSED.join(self.columns)

    def add(self, row: Row) -> None:
        """Add a row."""
        values = [group_of(row, column) for column in self.columns]
        known = [value for value in values if value is not None]
        self.of_rows.append(CROSSED.join(known) if len(known) == len(values) else None)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of rows of each group, the largest first."""
        counts = Counter(group for group in self.of_rows if group is not None)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def missing(self) -> int:
        """Return the number of rows without a group."""
        return self.of_rows.count(None)

    def large(self, smallest: int) -> tuple[str, ...]:
        """Return the groups of at least `smallest` rows; raise `UserError` unless there are two."""
        counts = self.counts
        found = tuple(group for group, count in counts.items() if count >= smallest)
        if not counts:
            raise UserError(f"no row has a value in column {self.name!r}: there are no groups")
        if len(counts) == 1:
            raise UserError(
                f"every row has {clipped(next(iter(counts)))} in column {self.name!r}: there is "
                "nothing to compare"
            )
        if len(found) < 2:
            first = ", ".join(f"{clipped(group)} {n}" for group, n in [*counts.items()][:LISTED])
            raise UserError(
                f"column {self.name!r} has {len(counts)} values, of which fewer than two have "
                f"{smallest} rows ({first}{', …' * (len(counts) > LISTED)}): take a column of "
                "fewer values, more rows, or another --smallest"
            )
        return found

    def numbers(self, groups: Sequence[str]) -> Int64[np.ndarray, " rows"]:
        """Return the number of each row's group among `groups`, −1 for others."""
        index = {group: number for number, group in enumerate(groups)}
        return np.array([index.get(group or "", -1) for group in self.of_rows], np.int64)


def clipped(group: str) -> str:
    """Return the name of a group in quotes, cut where it is long."""
    return repr(group if len(group) <= LONGEST else f"{group[: LONGEST - 1]}…")


def groups_of(columns: Sequence[str], rows: Iterable[Row]) -> list[Groups]:
    """Read the groups of each column and, of several columns, those of all crossed.

    Raises `UserError` for a column that no row has.
    """
    names = tuple(dict.fromkeys(columns))
    every = [Groups((name,)) for name in names]
    if len(names) > 1:
        every.append(Groups(names))
    first, absent = None, set(names)
    for row in rows:
        first = first or row
        absent -= row.fields.keys()
        for groups in every:
            groups.add(row)
    for name in (name for name in names if name in absent and first is not None):
        assert first is not None
        raise UserError(f"{first.file}: {no_column(first, name)}")
    return every
