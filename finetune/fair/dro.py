"""Group DRO: train for the group with the largest loss (Sagawa et al. 2020, arXiv:1911.08731).

    min over θ, max over q ∈ Δ:   Σ_c q_c ℓ_c(θ)            ℓ_c: the mean loss of cell c

    loss = Σ_c q_c / p_c · L_c        q_c ← q_c exp(η L_c / (p_c n)) / Σ_d q_d exp(η L_d / (p_d n))

A cell is a group and a label, or, where an example has not one label, a group (§2). L_c is the
summed loss of its items in a batch of n, and p_c its share of the training items: so L_c / (p_c n)
is an unbiased estimate of ℓ_c, also where a batch has none of it. q starts uniform (algorithm 1,
which draws its batches cell by cell: there p_c is one over their number). Of tasks with several
losses an item (tags, windows), n and p_c count those.

The weights of a step are those that the steps before left: the same for all of its micro-batches
and processes. They are a buffer within the model, `model.group_weights`, so that checkpoints hold
them, sharded or not, and a resumed run goes on with them. A step costs what a plain one costs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.fair.cells import Cell, losses_by_cell
from plainformer.finetune.micro_batches import Uncounted, counted
from plainformer.finetune.task_objective import TaskObjective
from plainformer.training import Loss, all_reduce_sum
from plainformer.training.accelerator import widest_float
from plainformer.training.distributed import all_reduce_sum_tensors

NAME = "group_weights"


class GroupWeights(nn.Module):
    """The weights of the cells, and their losses since the last update."""

    weights: Float[Tensor, " cells"]

    def __init__(self, shares: Mapping[Cell, float], rate: float) -> None:
        super().__init__()
        self.shares, self.rate = shares, rate
        self.register_buffer("weights", torch.full((len(shares),), 1 / len(shares)))
        self._losses: dict[Cell, float | Tensor] = dict.fromkeys(shares, 0.0)
        self._count = 0

    def factors(self) -> dict[Cell, Tensor]:
        """Return q / p of each cell."""
        return {c: q / p for (c, p), q in zip(self.shares.items(), self.weights, strict=True)}

    def add(self, losses: Mapping[Cell, Loss]) -> None:
        """Add the losses of the cells in a micro-batch."""
        for key, loss in losses.items():
            total = loss.total.detach()
            self._losses[key] = self._losses[key] + total.to(widest_float(total.device))
            self._count += loss.items

    @torch.no_grad()
    def update(self) -> None:
        """Multiply each weight by exp(η L / (p n)), and scale all to the sum 1."""
        sums = all_reduce_sum_tensors(self._losses, self.weights.device)
        (count,) = all_reduce_sum(self._count)
        self._losses, self._count = dict.fromkeys(self.shares, 0.0), 0
        found = torch.stack([torch.as_tensor(loss).to(self.weights) for loss in sums.values()])
        means = found / (self.weights.new_tensor(list(self.shares.values())) * max(count, 1))
        if means.isfinite().all():  # a step with an infinite loss is skipped, or ends the run
            self.weights.copy_((self.weights.log() + self.rate * means).softmax(0))


def group_dro(objective: TaskObjective) -> TaskObjective:
    """Weigh the loss of each cell by the `GroupWeights` of the model, and add it to them."""
    task = objective.task

    def compute(model: PretrainedModel, batch: Batch[Any]) -> tuple[Any, Loss]:
        state = model.get_submodule(NAME)
        assert isinstance(state, GroupWeights)
        outputs, plain = objective.compute(model, batch)
        parts, factors = losses_by_cell(task, outputs, batch), state.factors()
        if model.training and not isinstance(batch, Uncounted):
            state.add(parts)
        total = sum((factors[key] * part.total for key, part in parts.items()), 0 * plain.total)
        return outputs, counted(plain._replace(total=total), batch)

    return TaskObjective(task, compute)


def update_weights(model: PretrainedModel, step: int) -> None:
    """Update the `GroupWeights` of the model after a step."""
    state = model.get_submodule(NAME)
    assert isinstance(state, GroupWeights)
    state.update()
