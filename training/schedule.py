"""Compute the learning rate of a step: a warm-up, then one of four schedules.

    rise      η · (step + 1) / w                         the first w = warmup · steps steps
    linear    η · (1 − p)                                p: progress after the warm-up, 0 to 1
    cosine    η · (1 + cos πp) / 2                       Loshchilov and Hutter, 2017
    wsd       η, then η · (1 − √q)                       q: progress of the decay, 0 to 1;
                                                         Hägele et al., 2024
    constant  η

Steps count from 0. The rate would reach zero one step after the last: no step is wasted on it.
"""

import math

from plainformer.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of optimizer step `step` (from 0)."""
    return config.learning_rate * _factor(config, step)


def _factor(config: TrainingConfig, step: int) -> float:
    warmup = round(config.warmup * config.steps)
    if step < warmup:
        return (step + 1) / warmup
    match config.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - _progress(step, warmup, config.steps)
        case "cosine":
            return (1 + math.cos(math.pi * _progress(step, warmup, config.steps))) / 2
        case "wsd":
            start = config.steps - round(config.decay * config.steps)
            return 1 - math.sqrt(_progress(step, start, config.steps))


def _progress(step: int, start: int, end: int) -> float:
    """Return the progress of `step` from `start` to `end`: 0 before, 1 after."""
    if step < start:
        return 0.0
    return min(1.0, (step - start) / max(1, end - start))
