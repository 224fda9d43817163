"""Define the arguments of the loop: an objective `(model, batch) -> Loss`, and batches by step.

An objective returns sums, never means: the loop adds them over the micro-batches of a step and
divides once, so that k micro-batches give the gradient of one large batch, whatever the number of
tokens in each.

An objective with several backward passes is a generator: it yields losses, and each one is
differentiated before the next is computed. Adversarial training (FGM: Miyato et al. 2017,
arXiv:1605.07725), where `embedding_offset` adds δ to the output of the embeddings:

    def adversarial(model, batch):
        delta = torch.zeros(batch.num_tokens, hidden_size, requires_grad=True)
        with embedding_offset(model, delta):
            yield objective(model, batch)
            delta.data = epsilon * delta.grad / delta.grad.norm()
            yield objective(model, batch)._replace(items=0, metrics={})

The losses of a batch add up, and so do their gradients, items and metrics. A loss over items that
were counted already has `items=0`: here the mean loss is (clean + adversarial) / items.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import isgeneratorfunction, unwrap
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

SameT = TypeVar("SameT")


class Loss(NamedTuple):
    """The sums that one batch contributes to a step.

    A tuple, because DistributedDataParallel and FSDP find no tensors in a dataclass (torch 2.11).
    """

    total: Float[Tensor, ""]
    """The loss summed over items (labelled tokens, sequences …); differentiable."""

    items: int
    """The number of items: the mean loss is total / items."""

    metrics: Mapping[str, float | Tensor] = MappingProxyType({})
    """Further sums over the same items, e.g. {"accuracy": correct}; logged divided by them.
    A tensor is read only when it is logged, to avoid waiting for the GPU."""


@runtime_checkable
class Batch(Protocol):
    """The input of an objective."""

    @property
    def num_tokens(self) -> int:
        """Return the number of real tokens, without padding."""

    def to(self: SameT, device: torch.device) -> SameT:
        """Return the same batch on `device`."""


ModelT = TypeVar("ModelT", bound=nn.Module)
BatchT = TypeVar("BatchT", bound=Batch)

Objective = Callable[[ModelT, BatchT], Loss]
"""Model, batch -> loss. Randomness (dropout, masks drawn on the fly) comes from torch's generator,
which the loop seeds from (seed, step, number of the micro-batch)."""

TrainingObjective = Callable[[ModelT, BatchT], Loss | Iterator[Loss]]
"""An objective, or a generator function that yields losses. On several processes it yields the same
number of losses for every batch; gradients between two losses are those of this process alone."""


def yields_losses(objective: TrainingObjective[ModelT, BatchT]) -> bool:
    """Return whether `objective` is a generator function, or an object called like one.

    A decorated function is what it wraps.
    """
    called = unwrap(objective), unwrap(type(objective).__call__)
    return any(map(isgeneratorfunction, called))


Flops = Callable[[BatchT], int]
"""Batch -> floating-point operations of training on it, forward and backward."""

Batches = Callable[[int], Sequence[BatchT]]
"""Step (from 0) -> its micro-batches, a pure function of the seed and the step. On several
processes: those of this process, see `training.distributed.local_indices`."""
