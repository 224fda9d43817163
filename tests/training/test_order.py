"""Every item once an epoch, no budget exceeded, and nothing but (seed, step) that matters."""

import random
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.training import Order, Replay, Shuffle, by_items, by_tokens

seeds, ks = st.integers(0, 5), st.integers(1, 4)


class Numbered:
    """Items numbered through, in blocks; each has a length."""

    def __init__(self, blocks: list[list[int]]) -> None:
        self.lengths = np.array([length for block in blocks for length in block], np.int64)
        bounds = np.cumsum([0, *map(len, blocks)])
        self.items = [np.arange(a, b) for a, b in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, block: int) -> np.ndarray:
        return self.items[block]

    def order(self, budget: int, **settings) -> Order:
        return by_tokens(self, self.lengths.__getitem__, budget, **settings)


blocks_of_lengths = st.builds(
    lambda first, rest: [*rest, [first]],
    st.integers(0, 9),
    st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=9),
)


def next_fit(items, lengths, budget):
    """The rule, spelled out."""
    batches, room = [[]], budget
    for item in items:
        if lengths[item] > room:
            batches.append([])
            room = budget
        batches[-1].append(item)
        room -= lengths[item]
    return [batch for batch in batches if batch]


def row(order, k, epochs):
    """The micro-batches of all steps that `epochs` epochs need, one behind the other."""
    steps = [order(step) for step in range(order.steps(epochs))]
    assert all(len(step) == k for step in steps)
    return [batch.tolist() for step in steps for batch in step]


@settings(deadline=None, max_examples=25)
@given(blocks_of_lengths, st.integers(9, 30), st.integers(1, 4), seeds, ks)
def test_pools_of_blocks_are_filled_by_next_fit(blocks, budget, pool, seed, k):
    data = Numbered(blocks)
    found = row(data.order(budget, pool=pool, seed=seed, micro_batches=k), k, 3)
    expected = 0
    for epoch in range(3):
        seen = []
        shuffled = Shuffle(len(data), seed, epoch)(np.arange(len(data))).tolist()
        for first in range(0, len(data), pool):
            members = [i for b in shuffled[first : first + pool] for i in data[b].tolist()]
            batches, taken = found[expected:], []
            while len(taken) < len(members):
                taken += batches[0]
                batches = batches[1:]
            assert sorted(taken) == sorted(members)
            assert (
                next_fit(taken, data.lengths, budget) == found[expected:][: -len(batches) or None]
            )
            expected = len(found) - len(batches)
            seen += taken
        assert sorted(seen) == list(range(len(data.lengths)))
    assert len(found) - expected < k


def test_items_of_a_pool_are_shuffled_among_each_other():
    data = Numbered([[1] * 100] * 8)
    pool = np.concatenate(row(data.order(10**6, pool=4, seed=0), 1, 1)[0:1])
    assert len(pool) == 400 and len(set((pool // 100).tolist())) == 4
    assert abs(np.corrcoef(pool, np.arange(400))[0, 1]) < 0.2
    assert len(set((pool[:40] // 100).tolist())) == 4
    others = [row(data.order(10**6, pool=4, seed=s), 1, 2) for s in (0, 1)]
    assert len({tuple(batch) for batches in others for batch in batches}) == 8
    one = row(Numbered([[1] * 50]).order(50, seed=0), 1, 3)
    assert len({tuple(batch) for batch in one}) == 3 and len(one) == 3


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12), seeds, ks)
def test_fixed_batches_over_epochs(n, size, seed, k):
    batches = row(by_items(n, size, seed=seed, micro_batches=k), k, 2)
    an_epoch = -(-n // size)
    for epoch in range(2):
        part = batches[epoch * an_epoch : (epoch + 1) * an_epoch]
        assert list(chain(*part)) == Shuffle(n, seed, epoch)(np.arange(n)).tolist()
        assert all(len(batch) == size for batch in part[:-1])


def test_fixed_batches_over_several_pools(monkeypatch):
    whole = row(by_items(103, 5, seed=1), 1, 2)
    monkeypatch.setattr("plainformer.training.sampler.POOL_BATCHES", 4)
    assert row(by_items(103, 5, seed=1), 1, 2) == whole


@settings(deadline=None, max_examples=15)
@given(blocks_of_lengths, st.integers(1, 3), seeds, ks, st.randoms(use_true_random=False))
def test_a_step_does_not_depend_on_those_before(blocks, pool, seed, k, shuffle: random.Random):
    def build():
        return Numbered(blocks).order(12, pool=pool, seed=seed, micro_batches=k)

    walked = build()
    in_order = [walked(step) for step in range(9)]
    steps = list(range(9))
    shuffle.shuffle(steps)
    jumping = build()
    for step in steps:
        for one, other in zip(jumping(step), in_order[step], strict=True):
            assert one.tolist() == other.tolist()


def test_epoch_of_a_step():
    order = by_items(10, 4, seed=0, micro_batches=2)  # 3 micro-batches an epoch
    assert [order.epoch(step) for step in range(6)] == [0, 0, 1, 2, 2, 3]
    assert [order.steps(epochs) for epochs in range(4)] == [0, 2, 3, 5]


def test_only_the_pools_that_are_asked_for_are_read():
    class Watched(Numbered):
        def __getitem__(self, block):
            read.append(block)
            return super().__getitem__(block)

    read: list[int] = []
    order = Watched([[3] * 10] * 100).order(30, pool=5, seed=0)
    assert not read
    order(0), order.epoch(4)
    assert len(read) == 5
    order(7)
    assert len(read) == 10


def test_errors():
    with pytest.raises(UserError, match="an item has 9 tokens, more than the 8"):
        Numbered([[3, 9, 2]]).order(8, seed=0)(0)
    with pytest.raises(UserError, match="nothing to train on"):
        Numbered([]).order(8, seed=0)
    with pytest.raises(UserError, match="nothing to train on"):
        Numbered([[], []]).order(8, seed=0)(0)
    with pytest.raises(UserError, match="nothing to train on"):
        by_items(0, 3, seed=0)
    with pytest.raises(UserError, match="batch size"):
        by_items(3, 0, seed=0)
    with pytest.raises(UserError, match="micro-batch"):
        by_items(3, 1, seed=0, micro_batches=0)


@settings(deadline=None, max_examples=25)
@given(
    blocks_of_lengths,
    blocks_of_lengths.filter(lambda blocks: all(map(sum, filter(None, blocks)))),
    st.floats(0.01, 0.9),
    st.integers(1, 4),
    seeds,
)
def test_old_items_have_their_share_of_each_pool(new, old, share, pool, seed):
    data, first = Numbered([*new, *old]), sum(map(len, new))
    replay = Replay(first=len(new), share=share)
    found = row(data.order(30, pool=pool, seed=seed, replay=replay), 1, 2)
    plain = row(Numbered(new).order(30, pool=pool, seed=seed), 1, 2)
    for items in ([i for batch in row_ for i in batch if i < first] for row_ in (found, plain)):
        assert sorted(items) == sorted([*range(first), *range(first)])
    replayed = sum(data.lengths[i] for batch in found for i in batch if i >= first)
    pools = 2 * -(-len(new) // pool)
    wanted = share / (1 - share) * 2 * data.lengths[:first].sum()
    assert wanted - 1e-6 <= replayed <= wanted + 9 * pools  # whole items: 9 is the longest
    again = data.order(30, pool=pool, seed=seed, replay=replay)
    assert again(len(found) - 1)[0].tolist() == found[-1]


def test_other_old_items_come_in_another_epoch():
    data = Numbered([[1] * 10] * 20)
    order = data.order(200, pool=4, seed=0, replay=Replay(4, 0.2))
    epochs = [{i for i in order(step)[0].tolist() if i >= 40} for step in range(4)]
    assert [len(items) for items in epochs] == [10] * 4
    assert len(set.union(*epochs)) > 30


def test_nothing_to_replay_is_said():
    with pytest.raises(UserError, match="nothing to replay"):
        Numbered([[1], []]).order(9, seed=0, replay=Replay(1, 0.5))(0)
    assert Numbered([[1], []]).order(9, seed=0, replay=Replay(1, 0.0))(0)[0].tolist() == [0]
