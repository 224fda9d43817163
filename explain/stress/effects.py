"""Compute what each change costs, with 95 % intervals, for all examples and for groups of them.

    drop = score(examples) − score(changed examples)      won back = drop − drop of the other model

By the paired bootstrap: each sample draws the same rows for all scores of a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from plainformer.explain.fairness.measure import resampling
from plainformer.explain.intervals import Interval, bootstrap_all
from plainformer.explain.results import Rows
from plainformer.explain.stress.measure import Comparison, Measured
from plainformer.finetune.prediction.predictor import Progress

SAMPLES = 1000
"""The samples of the bootstrap."""


@dataclass(frozen=True)
class Drop:
    """The drop of one model's score by a kind of change."""

    before: float
    after: float
    drop: float
    interval: Interval
    flipped: float
    """The share of answers that are others; NaN where they are numbers."""


@dataclass(frozen=True)
class Gain:
    """The part of a drop that another model wins back."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Effect:
    """The effect of a kind of change on all examples, or on a group."""

    kind: str
    group: str
    examples: int
    words: float
    """The mean share of words that were changed, added or left out."""
    own: Drop
    other: Drop | None
    won_back: Gain | None


def effects_of(
    found: Sequence[Measured], groups: Mapping[str, Rows], seed: int = 0, quiet: bool = True
) -> list[Effect]:
    """Compute the effects of each kind on each group, kind by kind."""
    with resampling(SAMPLES * len(groups), quiet) as advance:
        by_group = {
            name: _of_group(found, name, rows, seed, advance) for name, rows in groups.items()
        }
    return [by_group[name][place] for place in range(len(found)) for name in groups]


def _of_group(
    found: Sequence[Measured], name: str, rows: Rows, seed: int, advance: Progress
) -> list[Effect]:
    def sampled(drawn: Rows) -> Float64[np.ndarray, " statistics"]:
        advance(1)
        return differences(found, rows[drawn])

    if not found:
        return []
    values = differences(found, rows)
    intervals = bootstrap_all(sampled, len(rows), SAMPLES, seed)
    effects = []
    for place, one in enumerate(found):
        drops = [
            _drop(comparison, rows, float(values[at]), intervals[at])
            for at, comparison in enumerate(one.models, place * (2 * len(one.models) - 1))
        ]
        gain = None
        if len(drops) > 1:
            gain = Gain(float(values[3 * place + 2]), intervals[3 * place + 2])
        words = float(one.models[0].changed[rows].mean())
        other = drops[1] if len(drops) > 1 else None
        effects.append(Effect(one.kind, name, len(rows), words, drops[0], other, gain))
    return effects


def differences(found: Sequence[Measured], rows: Rows) -> Float64[np.ndarray, " statistics"]:
    """Compute the drops of each kind for some rows: that of the model; with another model those of
    both, and what it wins back.
    """
    before = [comparison.before.score(rows) for comparison in found[0].models]
    after = [[comparison.after.score(rows) for comparison in one.models] for one in found]
    drops = np.array(before) - np.array(after)  # (kinds, models)
    if len(before) > 1:
        drops = np.column_stack([drops, drops[:, 0] - drops[:, 1]])
    flat: Float64[np.ndarray, " statistics"] = drops.flatten()
    return flat


def _drop(comparison: Comparison, rows: Rows, drop: float, interval: Interval) -> Drop:
    return Drop(
        before=comparison.before.score(rows),
        after=comparison.after.score(rows),
        drop=drop,
        interval=interval,
        flipped=float(comparison.flipped[rows].mean()),
    )
