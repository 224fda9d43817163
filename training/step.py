"""Take one optimizer step, on one process or on several.

    g = Σ ∇ loss over the micro-batches of all processes, / Σ count;  clip;  a step at rate η(step)

In fp16 the loss is scaled before the backward pass, and g divided by the scale: see `loss_scale`.

Dividing once by what was counted makes k micro-batches equal to one large batch, however unequal
they are, and on however many processes: number i of them is computed by process i mod n. An
objective may give several losses for a micro-batch, one after the other: their gradients add up.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count as numbers

import numpy as np
import torch
from torch import Tensor, nn

from plainformer.base.inference import Precision
from plainformer.training.config import TrainingConfig
from plainformer.training.device import autocast
from plainformer.training.distributed import (
    all_reduce_sum,
    all_reduce_sum_tensors,
    rank,
    world_size,
)
from plainformer.training.grad_norm import clip_gradients, gradient_norm
from plainformer.training.loss_scale import LossScale
from plainformer.training.objective import (
    Batches,
    BatchT,
    Flops,
    Loss,
    ModelT,
    TrainingObjective,
    yields_losses,
)
from plainformer.training.parallel import average_gradients, grad_sync
from plainformer.training.schedule import learning_rate
from plainformer.training.spikes import Spikes


@dataclass(frozen=True)
class Step:
    """The result of an optimizer step; its tensors are still on the device."""

    step: int
    """The number of steps so far, this one included."""
    sums: Mapping[str, float | Tensor]
    count: int
    learning_rate: float
    grad_norm: Tensor
    tokens: int
    """Real tokens, without padding."""
    flops: int = 0
    """Floating-point operations; 0 if unknown."""
    skipped: bool = False
    """True for a spike or an overflow in fp16, which changed no weights."""
    loss_scale: float | None = None
    """The factor of the loss in fp16."""


def take_step(
    call: nn.Module,
    objective: TrainingObjective[ModelT, BatchT],
    batches: Batches[BatchT],
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    step: int,
    flops: Flops[BatchT] | None = None,
    spikes: Spikes | None = None,
    before_step: Callable[[int], None] | None = None,
    loss_scale: LossScale | None = None,
) -> Step:
    """Take optimizer step `step` (from 0), or skip it; update the model and `optimizer`.

    `call` is the model as `training.parallel` wraps it. `before_step` is called with `step`, unless
    it is skipped, when every `grad` is the mean over all processes and is not yet clipped; what it
    changes is clipped, and a parameter whose `grad` it sets to None is left out of the step.
    `loss_scale`, for fp16, is updated.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device

    scale = loss_scale.scale if loss_scale else 1.0

    sums: dict[str, float | Tensor] = {}
    count = tokens = operations = 0
    own = batches(step)
    for number, batch in zip(numbers(rank(), world_size()), own, strict=False):
        seed = np.random.SeedSequence([config.seed, step, number]).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0]))
        with grad_sync(call, last=batch is own[-1]):
            for loss in losses(call, objective, batch, device, config.precision):
                torch.autograd.backward(loss.total, torch.full_like(loss.total, scale))
                count += loss.items
                for name, value in {"loss": loss.total, **loss.metrics}.items():
                    value = value.detach() if isinstance(value, Tensor) else value
                    sums[name] = sums.get(name, 0.0) + value
        tokens += batch.num_tokens
        operations += int(flops(batch)) if flops else 0

    average_gradients(call, parameters)
    count, tokens, operations = all_reduce_sum(count, tokens, operations)
    sums = all_reduce_sum_tensors(sums, device)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # Until here they are the processes' mean of sums; now they become the mean over all items.
    torch._foreach_mul_(gradients, world_size() / (max(count, 1) * scale))
    norm = gradient_norm(gradients)
    rate = learning_rate(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_multiplier"]
    # Reading a number waits for the GPU.
    skipped = loss_scale is not None and loss_scale.overflows_at(math.isfinite(float(norm)))
    if not skipped and spikes and config.on_spike == "skip" and count:
        skipped = spikes.see(loss=float(sums["loss"]) / count, grad_norm=float(norm))
    if not skipped:
        if before_step:
            before_step(step)
            gradients = [p.grad for p in parameters if p.grad is not None]
            norm = gradient_norm(gradients)
        if config.clip_norm:
            clip_gradients(gradients, norm, config.clip_norm)
        optimizer.step()
    optimizer.zero_grad()
    used = scale if loss_scale else None
    return Step(step + 1, sums, count, rate, norm, tokens, operations, skipped, used)


def losses(
    call: nn.Module,
    objective: TrainingObjective[ModelT, BatchT],
    batch: BatchT,
    device: torch.device,
    precision: Precision,
) -> Iterator[Loss]:
    """Yield the losses of `objective` on `batch`, each computed by a call of its own.

    The caller differentiates each loss before it asks for the next one.
    """
    if not yields_losses(objective):
        with autocast(device, precision):
            yield call(objective, batch.to(device))
        return
    rest = call(objective, batch.to(device))  # computes nothing yet
    while True:
        with autocast(device, precision):
            loss = call(_next_loss, rest)
        if loss is None:
            return
        yield loss


def _next_loss(model: nn.Module, rest: Iterator[Loss]) -> Loss | None:
    return next(rest, None)
