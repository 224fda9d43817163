"""Choose the threshold of prediction sets, so that they hold the true answer as often as asked.

    q = the ⌈(n + 1) c⌉-th smallest of the scores s(xᵢ, yᵢ) of n calibration examples
    P(true answer in {y : s(x, y) ≤ q}) ≥ c        for a new example that is drawn as those were

whatever the model (split conformal prediction: Angelopoulos & Bates 2021, arXiv:2107.07511). The
coverage of m new examples is then beta-binomial: m draws at a rate from Beta(k, n + 1 − k), with
k = ⌈(n + 1) c⌉. Of a number the score is |y − prediction|, and the set is an interval.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from plainformer.base import UserError, plural
from plainformer.explain.intervals import TAIL, Interval
from plainformer.finetune.calibration import SetScore, set_scores
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.regression import Regression


def true_scores(
    task: AnyTask, examples: Sequence[Any], predictions: Sequence[Any], score: SetScore
) -> Float[np.ndarray, " examples"]:
    """Compute the score of each example's true answer from its prediction."""
    if isinstance(task, Regression):
        pairs = zip(examples, predictions, strict=True)
        return np.array([abs(example.score - found.score) for example, found in pairs])
    scores = []
    for example, found in zip(examples, predictions, strict=True):
        if isinstance(task, MultipleChoice):
            place, p = example.right, found.probabilities
        else:
            place = list(found.probabilities).index(example.label)
            p = tuple(found.probabilities.values())
        scores.append(set_scores(np.array([p]), score)[0, place])
    return np.array(scores)


def rank(count: int, coverage: float) -> int:
    """Return ⌈(n + 1) c⌉; raise `UserError` where it is more than n, so that q is infinite."""
    found = math.ceil(round((count + 1) * coverage, 9))
    if found > count:
        least = math.ceil(round(coverage / (1 - coverage), 9))
        raise UserError(
            f"a coverage of {coverage:g} needs {least:,} calibration rows, and there are "
            f"{plural(count, 'row')} (without --test, a share of --data): give more, or a lower "
            "--coverage"
        )
    return found


def set_threshold(scores: Float[np.ndarray, " examples"], coverage: float) -> float:
    """Return the q of the scores of true answers."""
    return float(np.sort(scores)[rank(len(scores), coverage) - 1])


def expected_coverage(count: int, coverage: float, new: int) -> Interval:
    """Compute where the coverage of `new` examples is with a probability of 95 %."""
    from scipy.stats import betabinom

    k = rank(count, coverage)
    low, high = betabinom.ppf([TAIL, 1 - TAIL], new, k, count + 1 - k)
    return float(low) / new, float(high) / new
