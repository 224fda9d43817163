"""Average an objective over held-out batches, with streaming sums."""

from collections import defaultdict
from collections.abc import Iterable

import torch

from plainformer.base import UserError
from plainformer.training.objective import BatchT, ModelT, Objective


@torch.no_grad()
def evaluate(
    model: ModelT, objective: Objective[ModelT, BatchT], batches: Iterable[BatchT]
) -> dict[str, float]:
    """Return the mean "loss" and metrics of `objective` over `batches`, in evaluation mode.

    The batches are moved to the device of the model. Raises UserError when nothing was counted.
    """
    device = next(model.parameters()).device
    sums: dict[str, float] = defaultdict(float)
    count = 0
    training = model.training
    model.eval()
    try:
        for batch in batches:
            loss = objective(model, batch.to(device))
            count += loss.items
            for name, value in {"loss": loss.total, **loss.metrics}.items():
                sums[name] += float(value)
    finally:
        model.train(training)
    if count == 0:
        raise UserError("there is nothing to evaluate on: no batch holds a label")
    return {name: value / count for name, value in sums.items()}
