"""Measure what each layer knows: a linear probe on its hidden states, with a control task.

    probe        p(y | h) = softmax(W z + b),    z = (h − mean) / deviation
    control      the same probe on labels without meaning: each word (or text) has one label,
                 drawn at random with the frequencies of the true ones
    selectivity  accuracy − accuracy of the control

(Hewitt & Liang 2019, arXiv:1909.03368.) A probe that learns the control task has memorised words;
what a layer knows is what the probe can do beyond that. Both are measured on held-out examples. W
and b are those of the least mean −log p + |W|² / 60.

predictor = open_model("runs/labels")
layers = probe_layers(hidden_states(predictor, read_labelled(predictor, "trec")))
max(layers, key=lambda layer: layer.selectivity).number
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from plainformer.base import UserError
from plainformer.explain.inside.states import States
from plainformer.explain.intervals import Interval, bootstrap
from plainformer.finetune.few_labels.logistic_regression import logistic_regression

C = 30.0
"""The weight of the mean loss against the penalty ½ |W|²."""
TOLERANCE = 1e-2
"""The gradient at which a fit stops: the loss is a sum over thousands of labels."""


@dataclass(frozen=True)
class Layer:
    """The accuracy of a probe on one layer on held-out labels, with 95 % intervals."""

    number: int
    """0: the embeddings."""
    accuracy: float
    accuracy_interval: Interval
    control: float
    """The accuracy on the control task."""
    selectivity: float
    selectivity_interval: Interval


def probe_layers(
    states: States, seed: int = 0, watch: Callable[[int], None] = lambda done: None
) -> list[Layer]:
    """Fit a probe and its control on each layer, and measure both on the held-out examples.

    The intervals are of resampled examples: the words of a sentence stay together. `watch` is
    called with the number of layers done. Raises `UserError` where one label alone is left to
    learn.
    """
    held_out = states.held_out
    _, labels = np.unique(states.labels, return_inverse=True)
    if len({*labels[~held_out]}) < 2:
        raise UserError(f"nearly every label is {most_frequent(states)!r}: give more examples")
    controls = control_labels(states.names, labels, np.random.default_rng(seed))
    _, owners = np.unique(states.owners[held_out], return_inverse=True)
    totals = np.bincount(owners)  # (held-out examples,)
    found = []
    for number, layer in enumerate(states.states):
        right, guessed = (
            np.bincount(owners, weights=predict(layer, some, held_out) == some[held_out])
            for some in (labels, controls)
        )
        accuracy, interval = share(right, totals, seed)
        gain, gain_interval = share(right - guessed, totals, seed)
        found.append(Layer(number, accuracy, interval, accuracy - gain, gain, gain_interval))
        watch(number + 1)
    return found


def most_frequent(states: States) -> str:
    """Return the most frequent label to learn."""
    names, counts = np.unique(np.array(states.labels)[~states.held_out], return_counts=True)
    return str(names[counts.argmax()])


def baseline(states: States) -> float:
    """Compute the accuracy of always predicting the most frequent label."""
    return float((np.array(states.labels)[states.held_out] == most_frequent(states)).mean())


def control_labels(
    names: tuple[str, ...], labels: Int64[np.ndarray, " things"], rng: np.random.Generator
) -> Int64[np.ndarray, " things"]:
    """Give each different word or text one label, with the frequencies of the true ones."""
    # np.unique would give every text the room of the longest.
    index = {name: number for number, name in enumerate(sorted(set(names)))}
    types = np.array([index[name] for name in names])
    drawn: Int64[np.ndarray, " things"] = rng.choice(labels, len(index))[types]
    return drawn


def predict(
    x: Float[Tensor, "things hidden"],
    labels: Int64[np.ndarray, " things"],
    held_out: Bool[np.ndarray, " things"],
) -> Int64[np.ndarray, " held_out"]:
    """Fit a probe on what is not held out, and predict the labels of the rest."""
    learned = torch.from_numpy(~held_out)
    seen, targets = np.unique(labels[~held_out], return_inverse=True)
    mean, deviation = x[learned].mean(0), x[learned].std(0).clamp(min=1e-6)
    z = ((x - mean) / deviation).double()
    if len(seen) < 2:  # of a control task with rare labels
        return np.repeat(seen, held_out.sum())
    weight, bias = logistic_regression(
        z[learned], torch.from_numpy(targets), C / len(targets), TOLERANCE
    )
    best = (z[~learned] @ weight.T + bias).argmax(-1).numpy()
    found: Int64[np.ndarray, " held_out"] = seen[best]
    return found


def share(
    numbers: Shaped[np.ndarray, " examples"], totals: Int64[np.ndarray, " examples"], seed: int
) -> tuple[float, Interval]:
    """Compute Σ numbers / Σ totals over the examples, and its interval."""

    def of(rows: Int64[np.ndarray, " rows"]) -> float:
        return float(numbers[rows].sum() / totals[rows].sum())

    return of(np.arange(len(totals))), bootstrap(of, len(totals), seed=seed)
