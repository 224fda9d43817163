"""What is masked, how much of it and how, against the binomial law and the tokenizers' words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from cellar import UserError
from pretrain import Masking, Pieces, read_shards, write_shards
from pretrain.data import ordinary_ids
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


@given(texts(), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_whole_words_are_chosen_whole(text, ratio, seed):
    ids, words = text
    rule = masking(ratio=ratio, unit="words")
    _, places = rule.mask(ids, words, ids < SPECIAL, np.random.default_rng(seed))
    chosen = np.isin(np.arange(len(ids)), places)
    for word in set(words.tolist()):
        fates = chosen[(words == word) & (ids >= SPECIAL)]
        assert fates.all() or not fates.any()


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


def test_no_special_token_is_ordinary(tokenizer):
    ordinary = set(ordinary_ids(tokenizer).tolist())
    named = {getattr(tokenizer, f"{role}_id") for role in ("pad", "unk", "cls", "sep", "mask")}
    assert named <= tokenizer.special_ids
    assert ordinary | tokenizer.special_ids == set(range(tokenizer.vocab_size))
    assert not ordinary & tokenizer.special_ids


def test_words_of_every_kind_of_tokenizer_are_masked_whole(tokenizer, tmp_path):
    """Also where the text itself holds [MASK], and characters that WordPiece does not know."""
    sentences = [s.replace("red", "[MASK]").replace("cat", "猫") for s in tiny.sentences(60)]
    write_shards(sentences, tokenizer, tmp_path, "train")
    pieces = Pieces(read_shards(tmp_path, tokenizer, "train"), tokenizer, 64)
    rule = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), ratio=0.4, unit="words")
    in_parts = 0
    for number, sentence in enumerate(sentences):
        rng = np.random.default_rng(number)
        batch = rule(pieces.text(pieces[0][[number]], rng), rng)
        chosen = set(batch.at.tolist())
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
