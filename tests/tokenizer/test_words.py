"""Words that are parted already: as `transformers` reads them with `is_split_into_words`."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.tokenizer import Tokenizer, load_tokenizer
from tests.tokenizer.conftest import sentences
from tests.tokenizer.hostile import hostile
from tests.tokenizer.test_families import FAMILIES

transformers = pytest.importorskip("transformers")
WORDS = st.lists(hostile, max_size=6)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: Any, tmp_path_factory: Any) -> tuple[Tokenizer, Any]:
    folder = tmp_path_factory.mktemp("tokenizer")
    FAMILIES[request.param]().save_pretrained(folder)
    return load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)


def assert_same(ours: Tokenizer, theirs: Any, words: list[str]) -> None:
    encoding = ours.template.encode(ours.word_tokens(words), None)
    other = theirs(words, is_split_into_words=True, return_token_type_ids=True)
    lost = {n for n in range(len(words)) if n not in other.word_ids()}
    kept = [n for n, word in enumerate(encoding.word_ids) if word is None or word not in lost]
    assert [encoding.ids[n] for n in kept] == other["input_ids"]
    assert [encoding.word_ids[n] for n in kept] == other.word_ids()
    assert [encoding.type_ids[n] for n in kept] == other["token_type_ids"]
    for number in lost:  # they leave the word out; here it is one unknown token
        assert encoding.word_ids.count(number) == 1
        assert encoding.ids[encoding.word_ids.index(number)] == ours.unk_id


def test_sentences_by_word(pair: Any) -> None:
    for text in sentences(40):
        assert_same(*pair, text.split())


@settings(max_examples=60, deadline=None)
@given(words=WORDS)
def test_any_words(pair: Any, words: list[str]) -> None:
    assert_same(*pair, words)


@settings(max_examples=60, deadline=None)
@given(words=WORDS.filter(bool))
def test_tokens_know_their_word(pair: Any, words: list[str]) -> None:
    ours, _ = pair
    tokens = ours.word_tokens(words)
    assert sorted(set(tokens.word_ids)) == list(range(len(words)))
    assert tokens.word_ids == sorted(tokens.word_ids)
    for number, (start, end) in zip(tokens.word_ids, tokens.offsets, strict=True):
        assert 0 <= start <= end <= len(words[number])


def test_offsets_are_of_the_word(sentencepiece: Any, wordpiece: Any) -> None:
    for tokenizer in (sentencepiece, wordpiece):
        tokens = tokenizer.word_tokens(["unbelievable", "café", "walked"])
        words = ["", "", ""]
        for number, (start, end) in zip(tokens.word_ids, tokens.offsets, strict=True):
            words[number] += ["unbelievable", "café", "walked"][number][start:end]
        assert words == ["unbelievable", "café", "walked"]


def test_a_tagger_of_roberta_reads_words_behind_a_space(tmp_path: Path) -> None:
    FAMILIES["roberta"]().save_pretrained(tmp_path / "old")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "old", add_prefix_space=True)
    ours = load_tokenizer(tmp_path / "old").for_words()
    ours.save(tmp_path / "new")
    again, there = (
        open_(tmp_path / "new")
        for open_ in (load_tokenizer, transformers.AutoTokenizer.from_pretrained)
    )
    assert again.fingerprint() == ours.fingerprint() == ours.for_words().fingerprint()
    for text in sentences(40):
        for other in (theirs, there):
            assert_same(ours, other, text.split())
            assert_same(again, other, text.split())


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "roberta"])
def test_other_tokenizers_are_the_same_for_words(name: str, tmp_path: Path) -> None:
    FAMILIES[name]().save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert ours.for_words() is ours


def test_a_whole_word_has_its_own_token(pair: Any) -> None:
    ours, theirs = pair
    whole = {}
    for word in {word for text in sentences(40) for word in text.split()}:
        ids = theirs(word, add_special_tokens=False)["input_ids"]
        whole[word] = ids[0] if len(ids) == 1 and ids[0] != ours.unk_id else None
        assert ours.whole_word_id(word) == whole[word]
    assert any(whole.values()) and None in whole.values()
    assert all(ours.whole_word_id(token) is None for token in ours.special_tokens.values())
