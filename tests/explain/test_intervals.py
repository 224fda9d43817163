"""Intervals, against those of scipy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from plainformer.base import UserError
from plainformer.explain.intervals import bootstrap, proportion


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std])
def test_the_bootstrap_is_that_of_scipy(statistic: Callable[[Any], Any]) -> None:
    x = np.random.default_rng(1).exponential(size=37)
    ours = bootstrap(lambda rows: float(statistic(x[rows])), len(x), samples=300, seed=5)
    theirs = scipy.stats.bootstrap(
        (x,), statistic, n_resamples=300, method="percentile", batch=1, rng=5
    )
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_the_bootstrap_leaves_out_samples_without_a_value() -> None:
    x = np.array([1.0, math.nan])
    low, high = bootstrap(lambda rows: float(x[rows].sum()), 2)
    assert low == high == 2  # the samples of the first row alone
    assert np.isnan(bootstrap(lambda rows: math.nan, 5)).all()
    assert np.isnan(bootstrap(lambda rows: 1.0, 0)).all()


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 20), (7, 20), (500, 1000)])
def test_the_interval_of_a_proportion_is_that_of_scipy(successes: int, trials: int) -> None:
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(method="exact")
    assert proportion(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_nothing_tried_says_nothing() -> None:
    assert proportion(0, 0) == (0.0, 1.0)
    with pytest.raises(UserError, match="3 successes in 2 trials"):
        proportion(3, 2)
