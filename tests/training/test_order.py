"""Every item once an epoch, no budget exceeded, and nothing but (seed, step) that matters."""

import random
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellar import UserError
from training import by_items, by_tokens, permutation

lengths_lists = st.lists(st.integers(0, 9), min_size=1, max_size=40)
seeds, ks = st.integers(0, 5), st.integers(1, 4)


def next_fit(items, lengths, budget):
    """The rule, spelled out."""
    batches, room = [[]], budget
    for item in items:
        if lengths[item] > room:
            batches.append([])
            room = budget
        batches[-1].append(item)
        room -= lengths[item]
    return batches


def row(order, k, epochs):
    """The micro-batches of all steps that `epochs` epochs need, one behind the other."""
    steps = [order(step) for step in range(order.steps(epochs))]
    assert all(len(step) == k for step in steps)
    return [batch.tolist() for step in steps for batch in step]


@settings(deadline=None, max_examples=30)
@given(lengths_lists, st.integers(9, 30), seeds, ks)
def test_next_fit_over_epochs(lengths, budget, seed, k):
    order = by_tokens(np.array(lengths), budget, seed=seed, micro_batches=k)
    expected = []
    for epoch in range(3):
        expected += next_fit(permutation(len(lengths), seed, epoch).tolist(), lengths, budget)
    found = row(order, k, 3)
    assert found[: len(expected)] == expected
    assert len(found) - len(expected) < k
    for batch in found:
        assert sum(lengths[item] for item in batch) <= budget


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12), seeds, ks)
def test_fixed_batches_over_epochs(n, size, seed, k):
    batches = row(by_items(n, size, seed=seed, micro_batches=k), k, 2)
    an_epoch = -(-n // size)
    for epoch in range(2):
        part = batches[epoch * an_epoch : (epoch + 1) * an_epoch]
        assert sorted(chain(*part)) == list(range(n))
        assert all(len(batch) == size for batch in part[:-1])


@settings(deadline=None, max_examples=30)
@given(lengths_lists, seeds, ks, st.randoms(use_true_random=False))
def test_a_step_does_not_depend_on_those_before(lengths, seed, k, shuffle: random.Random):
    def build():
        return by_tokens(np.array(lengths), 12, seed=seed, micro_batches=k)

    walked = build()
    in_order = [walked(step) for step in range(12)]
    steps = list(range(12))
    shuffle.shuffle(steps)
    jumping = build()
    for step in steps:
        for one, other in zip(jumping(step), in_order[step], strict=True):
            assert one.tolist() == other.tolist()


def test_epoch_and_seed_change_the_order():
    orders = [tuple(permutation(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_epoch_of_a_step():
    order = by_items(10, 4, seed=0, micro_batches=2)  # 3 micro-batches an epoch
    assert [order.epoch(step) for step in range(6)] == [0, 0, 1, 2, 2, 3]
    assert [order.steps(epochs) for epochs in range(4)] == [0, 2, 3, 5]


def test_errors():
    with pytest.raises(UserError, match="item 1 has 9 tokens, more than the 8"):
        by_tokens(np.array([3, 9, 2]), 8, seed=0)
    with pytest.raises(UserError, match="nothing to train on"):
        by_tokens(np.array([], dtype=np.int64), 8, seed=0)
    with pytest.raises(UserError, match="batch size"):
        by_items(3, 0, seed=0)
    with pytest.raises(UserError, match="micro-batch"):
        by_items(3, 1, seed=0, micro_batches=0)
