"""Time a few real training steps on this machine.

    seconds(k micro-batches) = t₁ + (k − 1) · (t₂ − t₁)

where tₙ is the time of a step with n micro-batches: two of them are enough to time a step of many.
"""

import math
import time
from statistics import median

import torch

from plainformer.training.config import TrainingConfig
from plainformer.training.device import number_format, training_device
from plainformer.training.distributed import broadcast_from_main
from plainformer.training.loss_scale import LossScale
from plainformer.training.objective import Batches, BatchT, ModelT, TrainingObjective
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import layers_in_training, to_device, wrap_ddp
from plainformer.training.peak import synchronize
from plainformer.training.step import take_step

SECONDS = 3.0
"""Seconds for which steps of each size are timed."""


def seconds_per_step(
    model: ModelT,
    objective: TrainingObjective[ModelT, BatchT],
    batches: Batches[BatchT],
    config: TrainingConfig,
    limit: float = math.inf,
) -> float:
    """Train a disposable copy of a model for a few seconds; return the seconds of a step.

    The first step allocates memory and does not count, unless it takes more than `limit` seconds:
    then it is the result. (With `config.compile`, which makes the first step slow, the second.)
    """
    device = training_device(config)
    is_fp16 = number_format(device, config.precision) == torch.float16
    loss_scale = LossScale() if is_fp16 else None
    model_call = to_device(model.train(), device, config.parallel)
    trained: ModelT = model_call.model
    optimizer = build_optimizer(trained, config)
    call = wrap_ddp(model_call, objective, lambda: batches(0)[0].to(device))
    number = len(batches(0))
    recomputed = config.activation_checkpointing
    judged = 2 if config.compile else 1

    def timed(micro_batches: int) -> float:
        times: list[float] = []
        while len(times) < 2 or sum(times[1:]) < SECONDS:
            own = batches(len(times))[:micro_batches]
            start = time.perf_counter()
            take_step(
                call,
                objective,
                lambda _: own,  # noqa: B023
                optimizer,
                config,
                len(times),
                loss_scale=loss_scale,
            )
            synchronize(device)
            times.append(broadcast_from_main({"seconds": time.perf_counter() - start})["seconds"])
            if len(times) == judged and times[-1] > limit:
                return times[-1]
        return median(times[1:])

    with layers_in_training(trained, compiled=config.compile, recomputed=recomputed):
        first = timed(1)
        if number == 1 or first > limit:
            return first * number
        return first + (number - 1) * max(timed(2) - first, 0.0)
