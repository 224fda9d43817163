"""A model on many processes, by torch's own engine.

    ddp    every process has the whole model; gradients are averaged while they come about
           (DistributedDataParallel, Li et al. 2020, arXiv:2006.15704)

All that is computed with the model is handed to it through one door, so that the engine sees it
come and go: `whole(objective, batch)`, `whole(evaluate)`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.distributed import world_size


class Whole(nn.Module):
    """The door to a model: whole(compute, *inputs) is compute(model, *inputs)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[..., Any], *inputs: Any) -> Any:
        """Compute with the model."""
        return compute(self.model, *inputs)


def spread(model: nn.Module, loss: Callable[[], Tensor]) -> nn.Module:
    """The door to `model`, which is on its device, and to those of the other processes.

    `loss` is that of any batch: an objective may leave parameters alone, which then get no
    gradient, and the engine has to know whether to wait for one.
    """
    if world_size() == 1:
        return Whole(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss(), trained, allow_unused=True)
    return DistributedDataParallel(
        Whole(model),
        gradient_as_bucket_view=True,
        find_unused_parameters=any(gradient is None for gradient in gradients),
    )


@contextmanager
def gathering(whole: nn.Module, *, last: bool) -> Iterator[None]:
    """Gradients within the block are only added up; with the `last` they go to all processes."""
    if isinstance(whole, DistributedDataParallel) and not last:
        with whole.no_sync():
            yield
    else:
        yield
