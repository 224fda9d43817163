"""Re-weighting: train as if the group said nothing of the label (Kamiran & Calders 2012).

    loss = Σᵢ w(gᵢ, yᵢ) Lᵢ,    w(g, y) = P(g) P(y) / P(g, y)

P are shares of the training examples (doi:10.1007/s10115-011-0463-8). Weighed so, group and label
are independent: what is rarer than that counts more. In tasks without one label an example all
groups weigh the same: w(g) = 1 / (k P(g)), with k groups. A step costs what a plain one costs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.fair.cells import Cell, losses_by_cell
from plainformer.finetune.micro_batches import counted
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss


def cell_weights(cells: Sequence[Cell]) -> dict[Cell, float]:
    """Compute the weight of each group and label from those of the training items."""
    pairs, count = Counter(cells), len(cells)
    groups, labels = (Counter(part) for part in zip(*cells, strict=True))
    if None in labels:
        return {pair: count / (len(groups) * groups[pair[0]]) for pair in pairs}
    return {(g, y): groups[g] * labels[y] / (count * pairs[g, y]) for g, y in pairs}


def reweight(objective: TaskObjective, weights: Mapping[Cell, float]) -> TaskObjective:
    """Weigh the loss of each item by its group and label."""
    task = objective.task

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        outputs, plain = objective.compute(model, batch)
        parts = losses_by_cell(task, outputs, batch)
        total = sum((weights[key] * part.total for key, part in parts.items()), 0 * plain.total)
        return outputs, counted(plain._replace(total=total), batch)

    return TaskObjective(task, compute)
