"""What each objective hides of a text, and what it asks for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from plainformer.base import UserError
from plainformer.pretrain import Chunks, Masking, PackedText, PretrainConfig
from plainformer.pretrain.batch import with_step_counts
from plainformer.pretrain.corpus import Shard
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.objectives import (
    Denoising,
    SegmentPairs,
    choose_objective,
    next_tokens,
)
from plainformer.pretrain.objectives.denoising import SHUFFLED, choose_trigrams
from plainformer.pretrain.objectives.sentence_pairs import cut
from tests.pretrain.markov import FIRST, MASK, make_tokenizer

LETTERS = 26
TOKENIZER = make_tokenizer(LETTERS)
CLS, SEP = TOKENIZER.cls_id, TOKENIZER.sep_id
MASKING = Masking(MASK, np.arange(FIRST, FIRST + LETTERS), 0.2)
rows = st.lists(
    st.lists(st.integers(FIRST, FIRST + LETTERS - 1), min_size=1, max_size=12),
    min_size=1,
    max_size=6,
)


def segment(ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(ids, np.uint16), np.ones(len(ids), np.uint8)


def text_of(documents: list[list[int]]) -> PackedText:
    return PackedText.packed([[segment(ids)] for ids in documents], TOKENIZER)


def shard_of(documents: list[list[int]], starts: list[list[int]] | None = None) -> Shard:
    bounds = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    words = np.concatenate(starts or [[1] * len(ids) for ids in documents])
    return Shard(np.concatenate(documents).astype(np.uint16), bounds, words.astype(np.uint8))


@given(rows)
def test_causal_each_token_is_asked_for_the_next(documents):
    batch = next_tokens(text_of(documents), np.random.default_rng(0))
    assert batch.sequences.causal
    whole = [[CLS, *ids, SEP] for ids in documents]
    assert batch.input_ids.tolist() == [id for ids in whole for id in ids]
    assert batch.labels.tolist() == [id for ids in whole for id in ids[1:]]
    assert batch.input_ids[batch.target_positions].tolist() == [
        id for ids in whole for id in ids[:-1]
    ]
    assert batch.token_type_ids is None and batch.order is None


@given(rows, st.integers(0, 2**32))
def test_denoising_asks_for_the_original_wherever_something_was_done(documents, seed):
    text = text_of(documents)
    batch = Denoising(MASKING)(text, np.random.default_rng(seed))
    at, shown = batch.target_positions.numpy(), batch.input_ids.numpy()
    assert not batch.sequences.causal
    assert len(set(at.tolist())) == len(at)
    assert np.array_equal(batch.labels.numpy(), text.ids[at])
    assert not text.special[at].any()
    others = np.setdiff1d(np.arange(len(shown)), at)
    assert np.array_equal(shown[others], text.ids[others])
    assert ((shown >= FIRST) | text.special | (shown == MASK)).all()


@given(rows, st.integers(0, 2**32))
def test_trigrams_are_disjoint_and_of_one_text(documents, seed):
    text = text_of(documents)
    trigrams = choose_trigrams(~text.special, np.random.default_rng(seed))
    assert len(np.unique(trigrams)) == trigrams.size
    assert not text.special[trigrams].any()
    assert (np.diff(trigrams, axis=1) == 1).all()


def test_one_trigram_in_twenty_is_shuffled_in_every_way():
    rng = np.random.default_rng(0)
    trigrams = choose_trigrams(np.ones(300_000, bool), rng)
    low, high = binom.interval(0.999, 100_000, SHUFFLED)
    assert low <= len(trigrams) <= high
    letters = FIRST + np.arange(200_000) % 3
    text = PackedText(letters, np.arange(len(letters)), letters < FIRST, (len(letters),))
    rare = Masking(MASK, np.arange(FIRST, FIRST + 3), 1e-9)
    batch = Denoising(rare)(text, np.random.default_rng(4))
    found = batch.input_ids[batch.target_positions].view(-1, 3)
    kinds, counts = np.unique((found - FIRST).numpy(), axis=0, return_counts=True)
    assert len(kinds) == 6 and all(sorted(kind) == [0, 1, 2] for kind in kinds.tolist())
    low, high = binom.interval(0.9999, len(found), 1 / 6)
    assert all(low <= count <= high for count in counts)


@given(
    st.lists(st.booleans(), min_size=2, max_size=30),
    st.integers(0, 2**32),
)
def test_a_cut_is_at_a_word_of_the_middle_half_or_next_to_it(starts, seed):
    words = np.array([True, *starts[1:]], np.uint8)
    ids = np.arange(len(words))
    (first, _), (second, begins) = cut(ids, words, np.random.default_rng(seed))
    assert len(first) and len(second)
    assert np.array_equal(np.concatenate([first, second]), ids)
    size, at = len(ids), len(first)
    middle = [i for i in range(1, size) if size <= 4 * i <= 3 * size]
    if words[1:].any():
        assert begins[0] == 1
        words_there = [i for i in middle if words[i]]
        best = min(abs(2 * i - size) for i in range(1, size) if words[i])
        assert at in words_there if words_there else abs(2 * at - size) == best
    else:
        assert at in middle


def pairs(documents: list[list[int]], name, max_length: int = 40, budget: int = 200, seed=0):
    source = SegmentPairs(Chunks([shard_of(documents)], TOKENIZER, max_length - 1), name)
    hide = lambda text, rng, step=0: text.with_targets(*2 * [np.empty(0, np.int64)])  # noqa: E731
    return MaskedBatches(source, hide, budget, seed=seed)


def segments(batch) -> list[tuple[list[int], list[int], int]]:
    """First segment, second segment and class of each pair, read as a reader would."""
    found = []
    lengths = list(batch.sequences.lengths)
    types = batch.token_type_ids.split(lengths)
    for ids, kinds, order in zip(
        batch.input_ids.split(lengths), types, batch.order.tolist(), strict=True
    ):
        ids = ids.tolist()
        middle = ids.index(SEP)
        assert ids[0] == CLS and ids[-1] == SEP and ids.count(SEP) == 2
        assert kinds.tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        found.append((ids[1:middle], ids[middle + 1 : -1], order))
    return found


def ladders(count: int, length: int = 12) -> list[list[int]]:
    """Documents that count up from different letters, so that any part tells where it is from."""
    return [[FIRST + i % (LETTERS - length + 1) + k for k in range(length)] for i in range(count)]


def test_order_is_swapped_in_half_of_the_pairs():
    batches, seen = pairs(ladders(400), "sop"), 0
    wrong = 0
    for step in range(25):
        (batch,) = batches(step)
        for first, second, order in segments(batch):
            whole = second + first if order else first + second
            assert whole == list(range(whole[0], whole[0] + 12))
            assert 3 <= len(first) <= 9
            seen, wrong = seen + 1, wrong + order
    low, high = binom.interval(0.999, seen, 0.5)
    assert seen > 300 and low <= wrong <= high


@pytest.mark.parametrize(("budget", "steps"), [(200, 25), (40, 160), (16, 300)])
def test_the_second_segment_is_another_documents_in_half_of_the_pairs(budget, steps):
    """Also where a batch holds one or two pairs."""
    batches, seen, wrong = pairs(ladders(400), "nsp", budget=budget), 0, 0
    for step in range(steps):
        (batch,) = batches(step)
        for first, second, order in segments(batch):
            if order == 0:
                assert first + second == list(range(first[0], first[0] + 12))
            seen, wrong = seen + 1, wrong + order
    low, high = binom.interval(0.999, seen, 0.5)
    assert seen >= 300 and low <= wrong <= high


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(5, 24), st.integers(0, 99)
)
def test_pairs_keep_to_their_lengths(sizes, max_length, seed):
    documents = [[FIRST + (i + k) % LETTERS for k in range(n)] for i, n in enumerate(sizes)]
    if max(sizes) < 2:
        return
    for name in ("sop", "nsp") if sum(size >= 2 for size in sizes) >= 2 else ("sop",):
        batches = pairs(documents, name, max_length, budget=3 * max_length, seed=seed)
        (batch,) = batches(0)
        assert max(batch.sequences.lengths) <= max_length
        assert batch.num_tokens <= 3 * max_length
        assert list(batch.sequences.lengths) == sorted(batch.sequences.lengths)
        (again,) = pairs(documents, name, max_length, 3 * max_length, seed)(0)
        assert torch.equal(batch.input_ids, again.input_ids)
        assert torch.equal(batch.order, again.order)


def test_a_document_never_lends_to_itself():
    """Two documents, a long one in many chunks: nearly every wrong pair has a part of the other."""
    half = LETTERS // 2
    long, short = ([FIRST + i % half for i in range(400)], [FIRST + half] * 10)
    batches, wrong = pairs([long, short], "nsp", max_length=12, budget=120), 0
    for step in range(4):
        for first, second, order in segments(batches(step)[0]):
            assert order == ((first[0] < FIRST + half) != (second[0] < FIRST + half))
            wrong += order
    assert wrong > 8


@pytest.mark.parametrize("documents", [[[FIRST] * 400], [[FIRST] * 9, [FIRST]]])
def test_one_document_has_no_other_to_take_a_segment_from(documents):
    config = PretrainConfig(corpus=("x",), tokenizer=Path("t"), out=Path("o"), objective=("nsp",))
    shards = [shard_of(documents)]
    with pytest.raises(UserError, match="nsp needs two documents of at least two tokens"):
        choose_objective(("nsp",)).read(config, shards, TOKENIZER)
    assert choose_objective(("sop",)).read(config, shards, TOKENIZER)


def test_batches_of_a_step_know_what_all_of_them_hold():
    text = text_of([[FIRST] * 9, [FIRST + 1] * 4])
    some = [MASKING(text, np.random.default_rng(seed)) for seed in range(3)]
    assert some[0].counts.tokens == 17
    joined = with_step_counts(some)
    for batch in joined:
        assert batch.counts.tokens == 51
        assert batch.counts.sequences == 6
        assert batch.counts.targets == sum(len(b.labels) for b in some)


@pytest.mark.parametrize("name", ["sop", "nsp"])
def test_pairs_can_be_masked_too(name):
    source = SegmentPairs(Chunks([shard_of(ladders(40))], TOKENIZER, 39), name)
    (batch,) = MaskedBatches(source, MASKING, 200)(0)
    assert len(batch.labels) > 5
    assert not np.isin(batch.labels.numpy(), list(TOKENIZER.special_ids)).any()
    shown = batch.input_ids.clone()
    shown[batch.target_positions] = batch.labels
    assert (
        len(
            segments(
                type(batch)(
                    shown,
                    batch.sequences,
                    batch.target_positions,
                    batch.labels,
                    batch.token_type_ids,
                    batch.order,
                )
            )
        )
        > 5
    )
