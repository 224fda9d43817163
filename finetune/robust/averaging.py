"""Average the weights over the steps: the average is evaluated and saved in their place.

    EMA   aₜ = (1 − d) Σ dᵗ⁻ⁱ θᵢ / (1 − dᵗ)       exponential moving average, i = 1 … t
    SWA   aₜ = 1/n Σ θᵢ                            equal average of the last n steps

θᵢ are the weights after step i. Averages of weights lie nearer the middle of a flat minimum than
the last weights do, and need no smaller learning rate to get there (Polyak and Juditsky 1992; SWA:
Izmailov et al. 2018, arXiv:1803.05407). Both are the recursion

    a ← a + w (θ − a),    EMA: w = (1 − d) / (1 − dᵗ),    SWA: w = 1/n for the n-th of its steps

The division by 1 − dᵗ, as in Adam, leaves out the weights before the first step, among them those
of a new head; before SWA begins, a is θ. The average is a model within the model, `model.average`,
so that checkpoints hold it, sharded or not, and a resumed run goes on with it.
"""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch

from plainformer.encoder.pretrained import PretrainedModel

NAME = "average"

ModelT = TypeVar("ModelT", bound=PretrainedModel)

StepWeight = Callable[[int], float]
"""Number of steps, from 1 -> the weight of the weights after it in the average."""


def ema(decay: float) -> StepWeight:
    """Weigh each step `decay` times as much as the next one."""
    return lambda step: (1 - decay) / (1 - decay**step)


def swa(share: float, steps: int) -> StepWeight:
    """Weigh the last `share` of the `steps` equally, at least the last one."""
    first = min(steps - round(share * steps), steps - 1)
    return lambda step: 1 / max(step - first, 1)


def add_average(model: PretrainedModel) -> None:
    """Add a copy of `model` to it, as its average."""
    model.add_module(NAME, copy.deepcopy(model).requires_grad_(False))


def averaged(model: ModelT) -> ModelT:
    """Return the average of a model, or the model itself where it has none."""
    average = dict(model.named_children()).get(NAME)
    return average if isinstance(average, type(model)) else model


@torch.no_grad()
def update_average(model: PretrainedModel, weight: float) -> None:
    """Move the average of `model` towards its weights: a ← a + weight · (θ − a)."""
    parameters = dict(model.named_parameters())
    for name, average in averaged(model).named_parameters():
        average.lerp_(parameters[name], weight)


def keep_average(model: PretrainedModel) -> None:
    """Replace the weights of `model` by their average, which it then no longer has."""
    state = averaged(model).state_dict()
    delattr(model, NAME)
    model.load_state_dict(state)
