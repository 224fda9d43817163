import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers.normalizers import BertNormalizer
from transformers import AutoTokenizer

from plainformer.base import UserError
from plainformer.tokenizer import (
    SPECIAL_TOKENS,
    HuggingFace,
    SentencePiece,
    WordPiece,
    load_tokenizer,
    train_tokenizer,
)
from plainformer.tokenizer.wordpiece import _Cache
from tests.tokenizer.hostile import hostile

SETTINGS = list(itertools.product([True, False], [None, True, False], [True, False]))


def variant(tokenizer: WordPiece, setting: tuple[bool, bool | None, bool]) -> WordPiece:
    lowercase, strip_accents, chinese = setting
    return WordPiece(
        tokenizer.vocabulary,
        lowercase=lowercase,
        strip_accents=strip_accents,
        chinese_characters=chinese,
    )


@pytest.fixture(scope="module")
def pairs(wordpiece: WordPiece) -> list[tuple[WordPiece, Backend]]:
    ours = [variant(wordpiece, setting) for setting in SETTINGS]
    return [(t, Backend.from_str(json.dumps(t.definition()))) for t in ours]


def assert_equal(ours: WordPiece, theirs: Backend, text: str, pair: str | None = None) -> None:
    mine, other = ours.encode(text, pair), theirs.encode(text, pair)
    assert mine.ids == other.ids
    assert mine.offsets == other.offsets
    assert mine.word_ids == other.word_ids
    assert mine.type_ids == other.type_ids
    assert mine.sequence_ids == other.sequence_ids
    assert mine.special_tokens_mask == other.special_tokens_mask
    for skip in (True, False):
        assert ours.decode(mine.ids, skip_special_tokens=skip) == theirs.decode(
            mine.ids, skip_special_tokens=skip
        )


def test_real_text_equals_tokenizers(pairs, texts) -> None:
    for ours, theirs in pairs:
        for text, pair in itertools.pairwise(texts[::3]):
            assert_equal(ours, theirs, text, pair)


@settings(max_examples=500, deadline=None)
@given(text=hostile, which=st.integers(0, len(SETTINGS) - 1))
def test_hostile_text_equals_tokenizers(pairs, text: str, which: int) -> None:
    ours, theirs = pairs[which]
    # The known difference: canonical order among marks that stay.
    stripped = BertNormalizer(strip_accents=True, lowercase=True).normalize_str(text)
    assume(sum(unicodedata.combining(c) > 0 for c in stripped) < 2 or ours.strip_accents is False)
    assert_equal(ours, theirs, text)


def test_every_character_equals_tokenizers(pairs) -> None:
    ours, theirs = pairs[0]
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    for start in range(0, len(points), 4096):
        text = " ".join(f"wal{chr(p)}king" for p in points[start : start + 4096 : 13])
        assert_equal(ours, theirs, text)


@pytest.mark.parametrize("text", ["", " ", "\t\n", "x" * 100_000, "[MASK]" * 1000, "中" * 10_000])
def test_extreme_lengths_equal_tokenizers(pairs, text: str) -> None:
    for ours, theirs in pairs:
        assert_equal(ours, theirs, text)


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_words_are_the_tokens_grouped(wordpiece: WordPiece, text: str) -> None:
    tokens = wordpiece.tokens(text)
    words = wordpiece.words(text)
    assert [id for word in words for id in word] == tokens.ids
    assert [i for i, word in enumerate(words) for _ in word] == tokens.word_ids


def test_results_do_not_depend_on_history(wordpiece: WordPiece, texts, monkeypatch) -> None:
    small = variant(wordpiece, (True, None, True))
    for cache in (small._pieces, small._words):
        monkeypatch.setattr(cache, "entries", 3, raising=False)
    for text in texts:
        assert small.tokens(text) == variant(wordpiece, (True, None, True)).tokens(text)
        assert small.words(text) == wordpiece.words(text)
        assert max(len(small._pieces), len(small._words)) <= 3


def test_special_tokens_in_the_text(wordpiece: WordPiece) -> None:
    tokens = wordpiece.tokens("the[MASK].")
    assert tokens.ids == [wordpiece.id("the"), wordpiece.mask_id, wordpiece.id(".")]
    assert tokens.offsets == [(0, 3), (3, 9), (9, 10)]


def test_decoding_joins_pieces_and_punctuation(wordpiece: WordPiece) -> None:
    assert wordpiece.decode(wordpiece.encode("Walking,  the encoder!").ids) == (
        "walking, the encoder!"
    )


def test_ids_to_decode_are_whole_numbers_of_the_vocabulary(
    wordpiece: WordPiece, sentencepiece: SentencePiece
) -> None:
    general = HuggingFace(wordpiece.definition(), config={}, special_tokens={})
    for tokenizer in (wordpiece, sentencepiece, general):
        ids = tokenizer.encode("walking the encoder").ids
        for skip in (True, False):
            text = tokenizer.decode(ids, skip_special_tokens=skip)
            assert tokenizer.decode(torch.tensor(ids), skip_special_tokens=skip) == text
            assert tokenizer.decode(iter(np.array(ids)), skip_special_tokens=skip) == text
        for wrong in (-100, tokenizer.vocab_size):
            with pytest.raises(UserError, match=f"there is no token {wrong}: ids are from 0 to"):
                tokenizer.decode([*ids, wrong])
        with pytest.raises(TypeError):
            tokenizer.decode([1.0])


def test_saved_folder_opens_everywhere_with_equal_ids(wordpiece, texts, tmp_path: Path) -> None:
    for number, setting in enumerate(SETTINGS):
        ours = variant(wordpiece, setting)
        ours.max_length = 128
        folder = tmp_path / str(number)
        ours.save(folder)
        theirs = AutoTokenizer.from_pretrained(folder)
        assert theirs.model_max_length == 128
        assert theirs.mask_token_id == ours.mask_id
        again = [load_tokenizer(folder)]
        (folder / "tokenizer.json").unlink()
        again.append(load_tokenizer(folder))  # now from vocab.txt
        for text in [*texts[::20], "É[MASK] ﬁ中文"]:
            mine = ours.encode(text, "its pair")
            other = theirs(text, "its pair", return_offsets_mapping=True)
            assert mine.ids == other["input_ids"]
            assert mine.offsets == other["offset_mapping"]
            assert mine.type_ids == other["token_type_ids"]
            assert all(tokenizer.encode(text, "its pair") == mine for tokenizer in again)
        assert {t.fingerprint() for t in again} == {ours.fingerprint()}


def test_fingerprints_differ_where_ids_do(wordpiece: WordPiece) -> None:
    prints = {variant(wordpiece, setting).fingerprint() for setting in SETTINGS}
    assert len(prints) == len(SETTINGS)
    changed = [*wordpiece.vocabulary[:-1], "another"]
    assert WordPiece(changed).fingerprint() != wordpiece.fingerprint()


@pytest.mark.parametrize("text", ["\ud800", "fine é \udfff"])
def test_lone_surrogate_is_refused(wordpiece: WordPiece, text: str) -> None:
    for call in (wordpiece.encode, wordpiece.words):
        with pytest.raises(UserError, match=f"lone surrogate at character {len(text) - 1}"):
            call(text)


def test_repeated_and_binary_vocabularies_are_refused(tmp_path: Path) -> None:
    lines = [*SPECIAL_TOKENS.values(), "a", "b", "a"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"vocab.txt, line 8: 'a' is already in line 6"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"no token '\[UNK\]', the unk token of Bert"):
        load_tokenizer(tmp_path)


def test_windows_line_ends_in_vocab(wordpiece: WordPiece, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*wordpiece.vocabulary, ""]).encode())
    assert load_tokenizer(tmp_path).fingerprint() == wordpiece.fingerprint()


def test_training_is_the_same_every_time_in_any_order(texts) -> None:
    prints = {
        train_tokenizer(order, vocab_size=250).fingerprint()
        for order in (texts, texts[::-1], iter(texts))
    }
    assert len(prints) == 1


def test_caches_stay_small_and_change_nothing(wordpiece: WordPiece, monkeypatch) -> None:
    monkeypatch.setattr("plainformer.tokenizer.wordpiece.MAX_CHARACTERS", 200)
    small = variant(wordpiece, (True, None, True))
    small.limit_caches(10)
    letters = [chr(code) for code in range(0x370, 0x900)]
    texts = [" ".join(f"{a}{b}" for a, b in itertools.pairwise(letters)), "a b c " * 50]
    for text in texts * 2:
        assert small.encode(text) == wordpiece.encode(text)
    for cache in (small._pieces, small._matches):
        assert len(cache) <= 10 and len(cache._former) <= 10
    assert len(small._characters) <= 200


def test_a_cache_may_change_while_it_is_read() -> None:
    """Another thread may make the cache the former one between the look and the reading."""
    cache = _Cache(len)
    cache.entries = 1

    class Changing(dict[str, int]):
        def __contains__(self, key: object) -> bool:
            cache._former = {}
            return super().__contains__(key)

    cache._former = Changing(word=4)
    assert cache["word"] == 4
