"""Replay: learn a new task among examples of the old ones (Rolnick et al. 2019).

    step s is one of replay where ⌊(s + 1) r⌋ > ⌊s r⌋

so that a share r of the steps, evenly spread, is on batches of earlier tasks, which take turns, and
the others are the steps of the new task in their order (arXiv:1811.11682, §3, which mixes within a
batch; tasks have other heads and losses here, so a step is of one task). The old examples come from
a buffer, a few of each task, drawn at random once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import TypeVar

import numpy as np

from plainformer.training import Order

T = TypeVar("T")


@dataclass(frozen=True)
class Replayed:
    """The order of the new task's steps with those of replay among them."""

    new: str
    order: Order
    """The items of the new task, by the number of its step."""
    old: Mapping[str, Order]
    """The items in the buffer of each old task."""
    share: float
    """The share of the steps that are of old tasks."""

    def turn(self, step: int) -> tuple[str, int]:
        """Return the name of the task of a step (from 0), and the number of that task's step."""
        share = self.share if self.old else 0.0
        before, after = floor(step * share), floor((step + 1) * share)
        if after == before:
            return self.new, step - before
        number, place = divmod(before, len(self.old))
        return list(self.old)[place], number

    def __call__(self, step: int) -> tuple[str, list[int]]:
        """Return the name of the task of a step, and the numbers of its items."""
        name, number = self.turn(step)
        (chosen,) = (self.order if name == self.new else self.old[name])(number)
        return name, chosen.tolist()

    def steps(self, new: int) -> int:
        """Return the number of steps of which `new` are those of the new task."""
        return floor(new / (1 - self.share)) if self.old else new


def buffer(items: Sequence[T], size: int, seed: int) -> list[T]:
    """Draw `size` of the items at random, or all where there are fewer."""
    drawn = np.random.default_rng(seed).permutation(len(items))[:size]
    return [items[index] for index in sorted(drawn)]
