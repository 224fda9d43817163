"""The learning rate, a pure function of the step: warm-up, then one of four shapes.

    rise      η · (step + 1) / w                         the first w = warmup · steps steps
    linear    η · (1 − p)                                p: how much of the rest is over, 0 to 1
    cosine    η · (1 + cos πp) / 2                       Loshchilov and Hutter, 2017
    wsd       η, then η · (1 − √q)                       q: how much of the decay is over, 0 to 1;
                                                         Hägele et al., 2024
    constant  η

Steps count from 0, and no step is spent at rate zero: zero is where the step after the last stands.
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
    """How far `step` is on the way from `start` to `end`: 0 before, 1 behind."""
    if step < start:
        return 0.0
    return min(1.0, (step - start) / max(1, end - start))
