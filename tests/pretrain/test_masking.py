"""What is masked, how much of it and how, against the binomial law and the tokenizers' words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from plainformer.base import UserError
from plainformer.pretrain import Chunks, Masking, PackedText
from plainformer.pretrain.masking import (
    LONGEST_SPAN,
    SPAN_P,
    choose_spans,
    ordinary_ids,
    span_lengths,
)
from tests.pretrain import tiny

SPECIAL, VOCABULARY, MASK = 5, 10_000, 4
ORDINARY = np.arange(SPECIAL, VOCABULARY)


UNITS = st.sampled_from(["tokens", "words", "spans"])


def masking(**settings) -> Masking:
    return Masking(MASK, ORDINARY, **settings)


@st.composite
def texts(draw):
    """ids with special ones among them, and the word of each token."""
    ids = draw(st.lists(st.integers(0, 30), max_size=60))
    opens = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    if opens:
        opens[0] = True
    return np.array(ids, np.int64), np.cumsum(opens, dtype=np.int64) - 1


@given(texts(), st.floats(0.01, 0.99), UNITS, st.integers(0, 2**32))
def test_only_chosen_places_change_and_none_is_or_becomes_special(text, ratio, unit, seed):
    ids, words = text
    before = ids.copy()
    rule = masking(ratio=ratio, unit=unit)
    masked, places = rule.mask(ids, words, ids < SPECIAL, np.random.default_rng(seed))
    assert np.array_equal(ids, before)
    assert (ids[places] >= SPECIAL).all()
    assert len(set(places.tolist())) == len(places)
    others = np.setdiff1d(np.arange(len(ids)), places)
    assert np.array_equal(masked[others], ids[others])
    new = masked[places]
    assert ((new == MASK) | (new >= SPECIAL)).all()


@pytest.mark.parametrize("unit", ["words", "spans"])
def test_the_rest_of_a_word_that_was_cut_is_chosen_too(wordpiece, unit):
    ids, starts = np.arange(SPECIAL, SPECIAL + 8), np.array([0, 0, 1, 0, 1, 0, 0, 1])
    text = PackedText.packed([[(ids, starts)]], wordpiece)
    assert text.words.tolist() == [0, 1, 1, 2, 2, 3, 3, 3, 4, 5]
    rule, rng = masking(ratio=0.5, unit=unit), np.random.default_rng(0)
    chosen = [rule.mask(text.ids, text.words, text.special, rng)[1] for _ in range(100)]
    counts = np.bincount(np.concatenate(chosen), minlength=len(text.ids))
    assert counts[1] == counts[2] and 25 < counts[1] < 75


@given(texts(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_whole_words_are_chosen_whole(text, ratio, seed):
    ids, words = text
    rule = masking(ratio=ratio, unit="words")
    _, places = rule.mask(ids, words, ids < SPECIAL, np.random.default_rng(seed))
    chosen = np.isin(np.arange(len(ids)), places)
    for word in set(words.tolist()):
        fates = chosen[(words == word) & (ids >= SPECIAL)]
        assert fates.all() or not fates.any()


GEOMETRIC = SPAN_P * (1 - SPAN_P) ** np.arange(LONGEST_SPAN)
GEOMETRIC /= GEOMETRIC.sum()


def test_span_lengths_are_geometric_up_to_the_longest():
    lengths = np.array(span_lengths(50_000, np.random.default_rng(3)))
    counts = np.bincount(lengths, minlength=LONGEST_SPAN + 1)
    assert counts[0] == 0 and len(counts) == LONGEST_SPAN + 1
    assert chisquare(counts[1:], GEOMETRIC * len(lengths)).pvalue > 1e-3
    assert abs(lengths.mean() - 3.8) < 0.05  # as the paper says


def test_spans_of_a_long_text_have_these_lengths_in_words():
    """Few of many words, so that hardly any span meets another."""
    rng = np.random.default_rng(5)
    words = np.repeat(np.arange(150_000), rng.integers(1, 4, 150_000))
    spans = choose_spans(words, np.zeros(len(words), bool), 0.01, rng)
    sizes = [words[span[-1]] - words[span[0]] + 1 for span in spans]
    counts = np.bincount(sizes, minlength=LONGEST_SPAN + 1)[1:]
    assert chisquare(counts, GEOMETRIC * counts.sum()).pvalue > 1e-3
    assert counts.sum() > 350


@given(texts(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_spans_are_disjoint_whole_words_between_special_tokens(text, ratio, seed):
    ids, words = text
    special = ids < SPECIAL
    spans = choose_spans(words, special, ratio, np.random.default_rng(seed))
    places = [place for span in spans for place in span.tolist()]
    assert len(set(places)) == len(places) <= ratio * (~special).sum() + 1
    for span in spans:
        assert np.array_equal(span, np.arange(span[0], span[-1] + 1))
        assert not special[span].any()
        assert span[0] == 0 or words[span[0] - 1] != words[span[0]]
        assert span[-1] == len(ids) - 1 or words[span[-1] + 1] != words[span[-1]]
        assert len(set(words[span])) <= LONGEST_SPAN


def test_spans_use_up_the_share_of_a_short_text_on_average():
    """Of 7 tokens 15 % is one, and sometimes two: not always one."""
    rng = np.random.default_rng(0)
    none = np.zeros(7, bool)
    counts = [
        sum(len(span) for span in choose_spans(np.arange(7), none, 0.15, rng)) for _ in range(4000)
    ]
    assert set(counts) == {1, 2}
    low, high = binom.interval(0.999, 4000, 0.05)
    assert low <= counts.count(2) <= high


def test_a_span_has_one_fate():
    rng = np.random.default_rng(1)
    ids = rng.integers(SPECIAL, VOCABULARY, 200_000)
    words, special = np.arange(len(ids)), np.zeros(len(ids), bool)
    rule = masking(unit="spans", ratio=0.02)
    places, _ = rule.choose(words, special, 0.02, np.random.default_rng(9))
    masked, same_places = rule.mask(ids, words, special, np.random.default_rng(9))
    assert np.array_equal(places, same_places)
    spans = choose_spans(words, special, 0.02, np.random.default_rng(9))
    fates = []
    for span in spans:
        new, old = masked[span], ids[span]
        kinds = [(new == MASK).all(), (new == old).all(), ((new != MASK) & (new != old)).all()]
        fates.append(kinds.index(True))
    for kind, share in enumerate((0.8, 0.1, 0.1)):
        low, high = binom.interval(0.999, len(spans), share)
        assert low <= fates.count(kind) <= high


@pytest.mark.parametrize("unit", ["words", "spans"])
def test_whole_words_and_spans_hold_their_share_of_the_tokens(unit):
    rng = np.random.default_rng(2)
    words = np.repeat(np.arange(20_000), rng.integers(1, 5, 20_000))
    ids = np.full(len(words), 99)
    _, places = masking(unit=unit, ratio=0.3).mask(ids, words, ids < SPECIAL, rng)
    assert abs(len(places) / len(ids) - 0.3) < 0.015


def test_a_ratio_may_go_in_a_line_from_the_first_step_to_the_last():
    rule = masking(ratio=0.3, last_ratio=0.1, steps=101)
    assert [rule.ratio_at(step) for step in (0, 50, 100, 500)] == pytest.approx(
        [0.3, 0.2, 0.1, 0.1]
    )
    assert masking(ratio=0.3, steps=101).ratio_at(50) == 0.3
    assert masking(ratio=0.3, last_ratio=0.1, steps=1).ratio_at(0) == 0.3
    ids = np.full(100_000, 99)
    for step, share in ((0, 0.3), (100, 0.1)):
        _, places = rule.mask(
            ids, np.arange(len(ids)), ids < SPECIAL, np.random.default_rng(0), step
        )
        low, high = binom.interval(0.999, len(ids), share)
        assert low <= len(places) <= high


@pytest.mark.parametrize("ratio", [0.15, 0.3])
def test_shares_lie_inside_their_confidence_intervals(ratio):
    n = 600_000
    rng = np.random.default_rng(7)
    ids = rng.integers(0, VOCABULARY, n)
    special = ids < SPECIAL
    masked, places = masking(ratio=ratio).mask(ids, np.arange(n), special, rng)

    def holds(count: int, of: int, share: float) -> None:
        low, high = binom.interval(0.999, of, share)
        assert low <= count <= high, (count, of, share)

    holds(len(places), n - int(special.sum()), ratio)
    new, old = masked[places], ids[places]
    same_by_chance = 0.1 / len(ORDINARY)
    holds(int((new == MASK).sum()), len(places), 0.8)
    holds(int((new == old).sum()), len(places), 0.1 + same_by_chance)
    holds(int(((new != MASK) & (new != old)).sum()), len(places), 0.1 - same_by_chance)


def test_drawn_tokens_are_spread_over_the_whole_vocabulary():
    ids = np.full(400_000, 17)
    rule = Masking(MASK, np.arange(SPECIAL, 25), ratio=0.5)
    masked, places = rule.mask(ids, np.arange(len(ids)), ids < SPECIAL, np.random.default_rng(0))
    counts = np.bincount(masked[places], minlength=25)
    low, high = binom.interval(0.999, len(places), 0.1 / 20)
    drawn = [counts[i] for i in range(SPECIAL, 25) if i != 17]
    assert counts[:MASK].sum() == 0
    assert all(low <= count <= high for count in drawn)


def test_same_generator_same_masks():
    ids = np.arange(SPECIAL, 2000)
    arguments = ids, np.arange(len(ids)), ids < SPECIAL
    a, b, c = (masking().mask(*arguments, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    assert not np.array_equal(a[1], c[1])


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(UserError, match="ratio"):
        masking(ratio=ratio)
    with pytest.raises(UserError, match="ratio"):
        masking(last_ratio=ratio)


def test_no_special_token_is_ordinary(tokenizer):
    ordinary = set(ordinary_ids(tokenizer).tolist())
    named = {getattr(tokenizer, f"{role}_id") for role in ("pad", "unk", "cls", "sep", "mask")}
    assert named <= tokenizer.special_ids
    assert ordinary | tokenizer.special_ids == set(range(tokenizer.vocab_size))
    assert not ordinary & tokenizer.special_ids


def test_words_of_every_kind_of_tokenizer_are_masked_whole(tokenizer, tmp_path):
    """Also where the text itself holds [MASK], and characters that WordPiece does not know."""
    sentences = [s.replace("red", "[MASK]").replace("cat", "猫") for s in tiny.sentences(60)]
    chunks = Chunks([tiny.shard(sentences, tokenizer)], tokenizer, 64)
    rule = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), ratio=0.4, unit="words")
    in_parts = 0
    for number, sentence in enumerate(sentences):
        rng = np.random.default_rng(number)
        batch = rule(chunks.text(chunks[0][[number]], rng), rng)
        chosen = set(batch.target_positions.tolist())
        assert not set(batch.labels.tolist()) & tokenizer.special_ids
        place = 1
        for word in tokenizer.words(sentence):
            ordinary = [place + i for i, id in enumerate(word) if id not in tokenizer.special_ids]
            taken = chosen.intersection(ordinary)
            assert not taken or taken == set(ordinary)
            in_parts += len(taken) > 1
            place += len(word)
        assert place + 1 == batch.num_tokens
    assert in_parts > 20
