import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.corpora.split import outline, split_by_hash, text_key, unit


def shares(texts: list[str], seed: int = 0) -> dict[str, list[str]]:
    return split_by_hash(texts, lambda text: text, valid=0.1, test=0.2, seed=seed)


@given(st.lists(st.text()), st.text())
def test_a_text_keeps_its_part_whatever_else_is_there(texts, text):
    (part,) = [name for name, rows in shares([text]).items() if rows]
    parts = shares([*texts, text])
    assert text in parts[part]
    assert sorted(row for rows in parts.values() for row in rows) == sorted([*texts, text])


def test_texts_that_read_alike_never_stand_on_both_sides():
    assert text_key("  The “Cat”,\n sat.") == text_key('the "CAT" sat') == "the cat sat"
    assert text_key("１２ ﬁne") == "12 fine"
    assert text_key("不 同") != text_key("不")
    words = [f"word {i}" for i in range(200)]
    parts = shares(words + [f"WORD, {i}!" for i in range(200)])
    sides = [{text_key(text) for text in rows} for rows in parts.values()]
    assert sum(map(len, sides)) == 200


SAME = [
    ("  The “Cat”,\n sat.", 'the "CAT" sat'),
    ("１２ ﬁne", "12 fine"),
    ("don't stop!", "DON’T STOP"),
    ("well-known", "well — known"),
    ("क्या?", "क्या"),
    ("नमस्ते।", "नमस्ते"),
    ("天气很好。", "天气很好！"),
    ("「東京」", "東京"),
    ("¿Qué?", "qué"),
    ("مرحبا؟", "مرحبا"),
    ("שלום׃", "שלום"),
    ("cafe\u0301", "café"),
    ("ｶﾞ", "ガ"),
    ("각", unicodedata.normalize("NFD", "각")),
    ("Straße", "STRASSE"),
]
DIFFERENT = [
    ("दिन", "दीन"),  # day, poor
    ("कम", "काम"),
    ("C++", "C#"),
    ("C", "C++"),
    ("great 🙂", "great 🙁"),
    ("$5", "€5"),
    ("5 %", "5 °"),
    ("x < y", "x > y"),
    ("பல்", "பால்"),  # tooth, milk
    ("มา", "ม้า"),  # come, horse
    ("عَلِمَ", "عُلِمَ"),  # knew, was known
    ("שָׁם", "שֵׁם"),  # there, name
    ("résumé", "resume"),
    ("か", "が"),
    ("𝒳 = 1", "𝒳 ≠ 1"),
    ("ദിനം", "ദീനം"),
    ("দিন", "দীন"),
    ("a/b", "a*b"),
    ("不 同", "不"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_a_reader_would_call_the_same(one, other):
    assert text_key(one) == text_key(other) != ""
    assert outline(one) == outline(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_a_reader_would_tell_apart(one, other):
    assert text_key(one) != text_key(other)


@given(st.text(st.sampled_from("aB1_ ,.-+#\u0301\u093f\u200d\xad我が")) | st.text())
def test_what_is_the_same_falls_on_one_side(text):
    assert outline(text_key(text)) == outline(text)


def test_no_letter_and_no_digit_is_taken_for_punctuation():
    for code in range(sys.maxunicode + 1):
        if (character := chr(code)).isalnum():
            is_blank = not unicodedata.normalize("NFKC", character).strip()
            assert text_key(character) or is_blank, hex(code)


def test_shares_are_as_asked_and_hang_on_the_seed():
    texts = [str(i) for i in range(10_000)]
    parts = shares(texts)
    # four standard deviations of a binomial share
    assert abs(len(parts["valid"]) - 1000) < 120
    assert abs(len(parts["test"]) - 2000) < 160
    assert set(parts["test"]) != set(shares(texts, seed=1)["test"])


def test_the_hash_is_the_same_everywhere_and_always():
    # blake2b of "0:plain" in 8 bytes, as coreutils gives it: echo -n 0:plain | b2sum -l 64
    assert unit("plain") == int("3b6cdc71ffd58544", 16) / 2**64
