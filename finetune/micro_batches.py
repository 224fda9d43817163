"""Split the batch of a step into micro-batches: less memory, or a part for each process.

The gradients of micro-batches add up to that of the whole batch (see `training.step`). The last
batch of an epoch may hold fewer examples than there are micro-batches. As all processes must take
part in a step, those without an example compute one with a weight of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plainformer.finetune.data.batch import Batch, ItemT
from plainformer.training import Loss, local_indices


@dataclass(frozen=True)
class Uncounted(Batch[ItemT]):
    """A batch without weight in the loss: it stands in for an empty micro-batch."""

    @property
    def num_tokens(self) -> int:
        """Return 0."""
        return 0


def micro_batches(items: Sequence[ItemT], count: int) -> list[Batch[ItemT]]:
    """Split the items of a step into `count` micro-batches; return those of this process."""
    parts = np.array_split(np.arange(len(items)), count)  # the empty ones come last
    own = [parts[number] for number in local_indices(count)]
    return [
        Batch.of([items[i] for i in part]) if len(part) else Uncounted.of(items[:1]) for part in own
    ]


def counted(loss: Loss, batch: Batch[Any]) -> Loss:
    """Return the loss of a micro-batch; 0, of no items, for an uncounted one."""
    if not isinstance(batch, Uncounted):
        return loss
    return Loss(0 * loss.total, 0, {name: 0 * value for name, value in loss.metrics.items()})
