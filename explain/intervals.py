"""Compute 95 % confidence intervals: of any statistic of rows, and of a proportion.

bootstrap     the 2.5th and 97.5th percentile of s(r₁), …, s(r_B), where each r_b is n rows
              drawn with replacement from the n rows                          (Efron 1979)
proportion    the p for which neither P(X ≥ k) nor P(X ≤ k) of X ~ Binomial(n, p) is below
              2.5 %                                           (Clopper and Pearson 1934)

low, high = bootstrap(lambda rows: float(errors[rows].mean()), len(errors))
low, high = proportion(successes=7, trials=100)
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from plainformer.base import UserError

TAIL = 0.025
"""The probability beyond each end of an interval."""

Interval = tuple[float, float]


def bootstrap(
    statistic: Callable[[Int64[np.ndarray, " rows"]], float],
    rows: int,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Compute the percentile interval of a statistic, a function of row numbers.

    Samples for which the statistic is undefined (NaN) are left out; without rows, or without any
    other sample, the interval is NaN.
    """
    if not rows:
        return float("nan"), float("nan")
    (interval,) = bootstrap_all(lambda drawn: np.array([statistic(drawn)]), rows, samples, seed)
    return interval


def bootstrap_all(
    statistics: Callable[[Int64[np.ndarray, " rows"]], Float64[np.ndarray, " statistics"]],
    rows: int,
    samples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Compute the percentile intervals of several statistics on the same samples of some rows."""
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(0, rows, rows) for _ in range(samples))
    values = np.stack([statistics(sample) for sample in drawn])
    return [_percentiles(column[~np.isnan(column)]) for column in values.T]


def _percentiles(known: Float64[np.ndarray, " samples"]) -> Interval:
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [100 * TAIL, 100 * (1 - TAIL)])
    return float(low), float(high)


def proportion(successes: int, trials: int) -> Interval:
    """Compute the exact interval of a proportion; without a trial it is from 0 to 1."""
    from scipy.stats import beta

    if not 0 <= successes <= trials:
        raise UserError(f"{successes} successes in {trials} trials: there is no such proportion")
    failures = trials - successes
    low = beta.ppf(TAIL, successes, failures + 1) if successes else 0.0
    high = beta.ppf(1 - TAIL, successes + 1, failures) if failures else 1.0
    return float(low), float(high)
