"""How fast this machine trains: a few real steps, timed."""

import time
from statistics import median

import torch

from training.config import TrainingConfig
from training.device import choose_device
from training.distributed import of_main
from training.objective import Batches, BatchT, ModelT, Objective
from training.optimizer import build_optimizer
from training.parallel import joined, layers_in_training, placed
from training.step import take_step

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
    place = placed(model.train(), device, config.parallel)
    trained: ModelT = place.model
    optimizer = build_optimizer(trained, config)
    whole = joined(place, lambda: objective(trained, batches(0)[0].to(device)).total)
    times: list[float] = []
    recomputed = config.activation_checkpointing
    with layers_in_training(trained, compiled=config.compile, recomputed=recomputed):
        while len(times) < 4 or sum(times) < SECONDS:
            start = time.perf_counter()
            take_step(whole, objective, batches, optimizer, config, len(times))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(of_main({"seconds": time.perf_counter() - start})["seconds"])
    return median(times[1:])
