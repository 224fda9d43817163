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
    """The steps of a new task with those of replay among them."""

    new: str
    """The name of the new task."""
    orders: Mapping[str, Order]
    """The items of each step of a task: of the new one, and of the others in the buffer."""
    share: float
    """The share of the steps that are of earlier tasks, if there are any."""

    def turn(self, step: int) -> tuple[str, int]:
        """Return the name of the task of a step (from 0), and the number of that task's step."""
        earlier = [name for name in self.orders if name != self.new]
        share = self.share if earlier else 0.0
        before, after = floor(step * share), floor((step + 1) * share)
        if after == before:
            return self.new, step - before
        number, place = divmod(before, len(earlier))
        return earlier[place], number

    def __call__(self, step: int) -> tuple[str, list[int]]:
        """Return the name of the task of a step, and the numbers of its items."""
        name, number = self.turn(step)
        (chosen,) = self.orders[name](number)
        return name, chosen.tolist()

    def steps(self, new: int) -> int:
        """Return the number of all steps, replayed ones too, for `new` steps of the new task."""
        return floor(new / (1 - self.share)) if len(self.orders) > 1 else new


def buffer(items: Sequence[T], size: int, seed: int) -> list[T]:
    """Draw `size` of the items at random, or all where there are fewer."""
    drawn = np.random.default_rng(seed).permutation(len(items))[:size]
    return [items[index] for index in sorted(drawn)]
