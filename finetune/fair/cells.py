"""Compute the loss of each group and label in a batch, from the outputs of one forward pass.

    L = Σ over cells of L_c,    c = (g, y): the items of group g with label y

A model that decides by what marks a group does well on average in each group, and badly where the
mark and the label disagree: groups are weighed label by label, where an example has one. The cell
of an example without exactly one label is its group alone.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.prediction.predictor import chunks
from plainformer.finetune.task import AnyTask
from plainformer.training import Loss

CHUNK = 1000
"""The number of items that are counted at a time."""

Cell = tuple[str, str | None]
"""A group and a label; None where an example has not exactly one."""


def cell(item: Item) -> Cell:
    """Return the group and the label of an item."""
    return item.group, item.category


def losses_by_cell(task: AnyTask, outputs: Any, batch: Batch[Any]) -> dict[Cell, Loss]:
    """Compute the loss of the items of each cell."""
    places: dict[Cell, list[int]] = {}
    for place, item in enumerate(batch.items):
        places.setdefault(cell(item), []).append(place)
    return {key: task.loss(*task.select(outputs, batch, own)) for key, own in places.items()}


def shares_of(task: AnyTask, items: Sequence[Item]) -> dict[Cell, float]:
    """Compute the share of each cell in what the loss of the training items counts."""
    counts: Counter[Cell] = Counter()
    for some in chunks(items, CHUNK):
        for item, count in zip(some, task.item_counts(Batch.of(some)), strict=True):
            counts[cell(item)] += count
    return {key: count / counts.total() for key, count in sorted(counts.items()) if count}
