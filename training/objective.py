"""What the loop is given: an objective `(model, batch) -> Loss`, and batches by step.

An objective returns sums, never means: the loop adds them over the micro-batches of a step and
divides once, so that k micro-batches give the gradient of one large batch however their tokens are
shared out.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

SameT = TypeVar("SameT")


class Loss(NamedTuple):
    """The sums that one batch contributes to a step.

    A tuple, so that an engine of torch finds the tensors in it (2.11 looks into no dataclass).
    """

    total: Float[Tensor, ""]
    """The loss summed over what is counted (labelled tokens, sequences …); differentiable."""

    items: int
    """How many were counted: the mean loss is total / items."""

    metrics: Mapping[str, float | Tensor] = MappingProxyType({})
    """Further sums over the same items, e.g. {"accuracy": correct}; logged divided by them.
    A tensor is read only when it is logged, so that a GPU need not be waited for."""


@runtime_checkable
class Batch(Protocol):
    """What an objective reads, as long as it can be counted and moved."""

    @property
    def num_tokens(self) -> int:
        """Real tokens in it, padding not among them: the rate is in these."""

    def to(self: SameT, device: torch.device) -> SameT:
        """Return the same batch on `device`."""


ModelT = TypeVar("ModelT", bound=nn.Module)
BatchT = TypeVar("BatchT", bound=Batch)

Objective = Callable[[ModelT, BatchT], Loss]
"""What is learned. Randomness (dropout, masks drawn on the fly) comes from torch's generator, which
the loop seeds from (seed, step, number of the micro-batch)."""

Flops = Callable[[BatchT], int]
"""Batch -> floating-point operations of training on it, forward and backward."""

Batches = Callable[[int], Sequence[BatchT]]
"""Step (from 0) -> its micro-batches, a pure function of the seed and the step. On one of several
processes: those that are its own, see `training.distributed.share`."""
