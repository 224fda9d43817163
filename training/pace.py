"""How fast this machine trains: a few real steps, timed."""

import time
from statistics import median

import torch

from training.config import TrainingConfig
from training.device import choose_device
from training.loop import take_step
from training.objective import Batches, BatchT, ModelT, Objective
from training.optimizer import build_optimizer

SECONDS = 6.0


def seconds_per_step(
    model: ModelT,
    objective: Objective[ModelT, BatchT],
    batches: Batches[BatchT],
    config: TrainingConfig,
) -> float:
    """Train `model` (a copy to be thrown away) for a few seconds; return the median step's seconds.

    The first step, in which memory is laid out, does not count.
    """
    device = choose_device(config.device)
    model.to(device).train()
    optimizer = build_optimizer(model, config)
    times: list[float] = []
    while len(times) < 4 or sum(times) < SECONDS:
        start = time.perf_counter()
        take_step(model, objective, batches, optimizer, config, len(times))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times[1:])
