"""A bijection for every n, of its own for every seed and epoch, and as even as a fair shuffle."""

from collections import Counter
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from plainformer.training import Shuffle


def whole(n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    return Shuffle(n, seed, epoch)(np.arange(n)).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_every_small_number_is_shuffled_whole(seed):
    for n in range(130):
        assert sorted(whole(n, seed, epoch=n % 3)) == list(range(n))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 100_000), st.integers(0, 2**63), st.integers(0, 1000))
def test_larger_numbers_are(n, seed, epoch):
    assert np.array_equal(np.sort(Shuffle(n, seed, epoch)(np.arange(n))), np.arange(n))


@settings(deadline=None, max_examples=30)
@given(st.integers(10**6, 2**62), st.integers(0, 9), st.integers(0, 2**62))
def test_any_place_can_be_asked_for(n, seed, start):
    shuffle = Shuffle(n, seed, 0)
    places = (start + np.arange(1000)) % n
    items = shuffle(places)
    assert items.min() >= 0 and items.max() < n and len(set(items.tolist())) == 1000
    assert shuffle(places[[7, 3]]).tolist() == items[[7, 3]].tolist()


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(whole(50, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


@pytest.mark.parametrize("n", [2, 3, 4])
def test_every_order_of_a_few_comes_as_often(n):
    draws = 40 * factorial(n)
    counts = Counter(tuple(whole(n, seed)) for seed in range(draws))
    assert len(counts) == factorial(n)
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("n", [37, 64, 300])
def test_items_stand_anywhere_and_near_any_other(n):
    """Against a fair shuffle: where an item comes, whether places tell items, who is next."""
    orders = np.array([whole(n, seed, epoch) for seed in range(20) for epoch in range(20)])
    counts = np.stack([np.bincount(column, minlength=n) for column in orders.T])
    # the counts of one place sum to 400, so n - 1 of them are free
    assert abs(((counts - 400 / n) ** 2 / (400 / n)).sum() / (n * (n - 1)) - 1) < 0.05
    correlations = np.array([np.corrcoef(np.arange(n), order)[0, 1] for order in orders])
    assert abs(correlations.mean()) < 4 / (n * len(orders)) ** 0.5
    assert correlations.std() == pytest.approx((n - 1) ** -0.5, rel=0.15)
    steps = np.diff(orders, axis=1)
    assert np.abs(steps).mean() == pytest.approx((n + 1) / 3, rel=0.02)
    follows = (steps == 1).sum(axis=1).mean()  # one in a fair shuffle, but for 1/n
    assert follows == pytest.approx((n - 1) / n, abs=4 / 400**0.5)


def test_a_far_stretch_of_a_long_order_is_even():
    n = 10**12 + 7
    items = Shuffle(n, 3, 1)(np.arange(5 * 10**11, 5 * 10**11 + 20_000))
    assert kstest(items / n, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(items[:-1], items[1:])[0, 1]) < 4 / 20_000**0.5
    assert abs(np.corrcoef(items, np.arange(20_000))[0, 1]) < 4 / 20_000**0.5
