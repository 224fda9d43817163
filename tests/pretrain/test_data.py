"""Batches: every token once an epoch, in order; a function of (seed, step); the right loss."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

import plainformer.pretrain.data
from plainformer.base import UserError
from plainformer.encoder import MaskedLM, Sequences
from plainformer.pretrain import Chunks, MaskedBatch, MaskedBatches, Masking, masked_lm
from plainformer.pretrain.corpus import Shard
from plainformer.pretrain.data import fixed_batches, unigram_entropy
from plainformer.pretrain.masking import ordinary_ids
from tests.pretrain import tiny


def shards(*sizes: list[int]) -> list[Shard]:
    """Documents of these sizes, shard by shard; the tokens are numbered through from 5."""
    made, first = [], 5
    for row in sizes:
        bounds = np.concatenate([[0], np.cumsum(row)]).astype(np.int64)
        ids = np.arange(first, first + bounds[-1]).astype(np.uint16)
        made.append(Shard(ids, bounds, np.ones(len(ids), np.uint8)))
        first += len(ids)
    return made


def original(batch: MaskedBatch) -> list[list[int]]:
    """The sequences of a batch as they were before masking."""
    ids = batch.input_ids.clone()
    ids[batch.target_positions] = batch.labels
    return [part.tolist() for part in ids.split(list(batch.sequences.lengths))]


def batches(chunks: Chunks, budget: int, **settings) -> MaskedBatches:
    tokenizer = chunks.tokenizer
    return MaskedBatches(
        chunks, Masking(tokenizer.mask_id, ordinary_ids(tokenizer), 0.5), budget, **settings
    )


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@settings(max_examples=40)
@given(
    st.lists(sizes, min_size=1, max_size=3),
    st.integers(3, 30),
    st.integers(0, 30),
    st.integers(1, 100),
    st.integers(1, 200),
)
def test_every_token_once_an_epoch_in_pieces_of_like_length(
    tokenizers, rows, length, spare, block, pool
):
    """Also where blocks end within documents and chunks, and pools within the corpus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plainformer.pretrain.data, "BLOCK", block)
        patch.setattr(plainformer.pretrain.data, "POOL", max(pool, block))
        patch.setattr(plainformer.pretrain.data, "POOL_BATCHES", 0)
        check_an_epoch(tokenizers["wordpiece"], rows, length, spare)


def check_an_epoch(tokenizer, rows, length, spare):
    data = batches(Chunks(shards(*rows), tokenizer, length), length + spare)
    found = []
    for step in range(data.order.steps(epochs=1)):
        (batch,) = data(step)
        assert batch.num_tokens == sum(batch.sequences.lengths) <= length + spare
        assert list(batch.sequences.lengths) == sorted(batch.sequences.lengths)
        found += original(batch)
    assert all(len(chunk) <= length for chunk in found)
    assert {chunk[0] for chunk in found} == {tokenizer.cls_id}
    assert {chunk[-1] for chunk in found} == {tokenizer.sep_id}
    inner = sorted(chunk[1:-1] for chunk in found)
    flat = [id for row in rows for id in row]
    assert [id for chunk in inner for id in chunk] == list(range(5, 5 + sum(flat)))
    bounds = 5 + np.cumsum([0, *flat])
    for first, last in pairwise(bounds):
        lengths = [len(chunk) for chunk in inner if first <= chunk[0] < last]
        assert sum(lengths) == last - first  # no chunk holds parts of two documents
        assert len(lengths) == -(-(last - first) // (length - 2))
        assert max(lengths) - min(lengths) <= 1


def test_a_batch_follows_from_seed_and_step(wordpiece):
    def fresh(seed: int = 3, micro: int = 2) -> MaskedBatches:
        chunks = Chunks(shards([7, 30, 2, 19], [11, 5, 23]), wordpiece, 16)
        return batches(chunks, 40, seed=seed, micro_batches=micro)

    walked = fresh()
    wanted = {step: walked(step) for step in range(12)}
    for step in (11, 0, 7):
        for a, b in zip(wanted[step], fresh()(step), strict=True):
            assert torch.equal(a.input_ids, b.input_ids)
            assert torch.equal(a.target_positions, b.target_positions) and torch.equal(
                a.labels, b.labels
            )
    assert not any(
        torch.equal(a.input_ids, b.input_ids)
        for a, b in [
            (wanted[0][0], fresh(seed=4)(0)[0]),
            (wanted[0][0], wanted[1][0]),
            (wanted[0][0], wanted[0][1]),
        ]
    )


def test_masks_are_drawn_anew_each_epoch(wordpiece):
    data = batches(Chunks(shards([30]), wordpiece, 32), 32)
    first, second = data(0)[0], data(1)[0]
    assert original(first) == original(second)
    assert not torch.equal(first.target_positions, second.target_positions)


def test_accumulated_batches_are_the_batches_of_as_many_steps(wordpiece):
    chunks = Chunks(shards([7, 30, 2, 19, 11, 5, 23]), wordpiece, 16)
    one, two = batches(chunks, 40), batches(chunks, 40, micro_batches=2)
    alone = [original(one(step)[0]) for step in range(6)]
    assert [original(batch) for step in range(3) for batch in two(step)] == alone


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_a_packed_batch_has_the_loss_of_its_sequences_one_by_one(wordpiece, architecture):
    torch.manual_seed(0)
    model = MaskedLM(tiny.shape(architecture, wordpiece)).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(5, wordpiece.vocab_size, 110).astype(np.uint16)
    shard = Shard(ids, np.array([0, 3, 50, 61, 110]), np.ones(110, np.uint8))
    (batch,) = batches(Chunks([shard], wordpiece, 24), 200)(0)
    whole = masked_lm(model, batch)
    total, count, first = 0.0, 0, 0
    for length in batch.sequences.lengths:
        inside = (batch.target_positions >= first) & (batch.target_positions < first + length)
        alone = MaskedBatch(
            batch.input_ids[first : first + length],
            Sequences.of([length]),
            batch.target_positions[inside] - first,
            batch.labels[inside],
        )
        loss = masked_lm(model, alone)
        total, count, first = total + loss.total.item(), count + loss.items, first + length
    assert count == whole.items > 20
    assert total / count == pytest.approx(whole.total.item() / whole.items, rel=1e-5)


def test_unigram_entropy_is_that_of_the_formula(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [rng.zipf(1.5, 3000).clip(max=900).astype(np.uint16) for _ in range(2)]
    made = [Shard(row, np.array([0, len(row)]), np.ones(len(row), np.uint8)) for row in rows]
    _, counts = np.unique(np.concatenate(rows), return_counts=True)
    wanted = entropy(counts.astype(np.float64))
    assert unigram_entropy(made) == pytest.approx(wanted, rel=1e-12)
    monkeypatch.setattr(plainformer.pretrain.data, "BLOCK", 100)
    assert unigram_entropy(made) == pytest.approx(wanted, rel=1e-12)
    monkeypatch.setattr(plainformer.pretrain.data, "ENTROPY_SAMPLE", 2000)
    sampled = np.concatenate([row[i : i + 100] for row in rows for i in range(0, 3000, 300)])
    _, counts = np.unique(sampled, return_counts=True)
    assert unigram_entropy(made) == pytest.approx(entropy(counts.astype(np.float64)), rel=1e-12)
    assert unigram_entropy(made) == pytest.approx(wanted, rel=0.1)


def test_held_out_batches_are_always_the_same_and_end(wordpiece):
    chunks = Chunks(shards([30] * 20), wordpiece, 32)
    rule = Masking(wordpiece.mask_id, ordinary_ids(wordpiece))
    some = [list(fixed_batches(chunks, rule, 64, limit=200)) for _ in range(2)]
    assert [original(batch) for batch in some[0]] == [original(batch) for batch in some[1]]
    assert all(
        torch.equal(a.target_positions, b.target_positions) for a, b in zip(*some, strict=True)
    )
    assert sum(batch.num_tokens for batch in some[0]) == 256
    everything = list(fixed_batches(chunks, rule, 64, limit=10**9))
    assert sum(batch.num_tokens for batch in everything) == 20 * 32


def test_no_room_and_no_shards_are_the_users_errors(wordpiece):
    with pytest.raises(UserError, match="max_length must be at least 3"):
        Chunks(shards([4]), wordpiece, 2)
    with pytest.raises(UserError, match="no token shards"):
        Chunks([], wordpiece, 8)
