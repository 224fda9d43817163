"""Changes of examples: spans and tags follow, labels stay, and each change is what it says."""

import unicodedata
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base.words import HAN
from plainformer.explain.stress import CHANGES
from plainformer.explain.stress.chinese import LOOKS, SOUNDS, doubles
from plainformer.explain.stress.distractor import CHINESE, SENTENCES
from plainformer.explain.stress.homoglyphs import LATIN
from plainformer.explain.stress.invisible import INVISIBLE
from plainformer.explain.stress.measure import share_changed
from plainformer.explain.stress.typos import NEIGHBOURS, mistype
from plainformer.finetune.tasks.classification import ClassExample
from plainformer.finetune.tasks.multiple_choice import ChoiceExample
from plainformer.finetune.tasks.sentence_embedding import SentenceExample
from tests.finetune.passages import example as question
from tests.finetune.sentences import sentence
from tests.finetune.test_augment import KINDS, NUMBERS, check, example_of, generator

WORDS = ["paypal", "Who", "ox", "a", "don't", "42", "在", "做", "北", "，", ",", ".", "“", "是的"]
LISTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)
GIVEN = st.tuples(st.sampled_from(KINDS), LISTS, LISTS, NUMBERS)
SHARES = st.floats(0.01, 1)
SAME_WORDS = sorted(CHANGES.keys() - {"dropped", "doubled", "no-punctuation", "punctuation"})
SAME_WORDS.remove("distractor")
ENGLISH = {"typos", "homoglyphs"}


def text_of(text: str) -> ClassExample:
    return ClassExample(text=text, label="x", source="f:1")


def texts(example: Any) -> list[str]:
    return [word.text for word in example.to_words()]


@given(GIVEN, SHARES, st.integers(0, 99))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("kind", CHANGES)
def test_spans_tags_and_labels_stay(kind, given, share, seed):
    before = example_of(*given)
    after = CHANGES[kind](before, share, generator(seed))
    check(before, after)
    assert CHANGES[kind](before, share, generator(seed)) == after
    assert texts(CHANGES[kind](before, 0.0, generator(seed))) == texts(before)
    assert all(text.strip() for text in getattr(after, "texts", ()))


@given(LISTS, SHARES, st.integers(0, 99))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("kind", SAME_WORDS)
def test_words_are_spelled_otherwise_one_by_one(kind, words, share, seed):
    """No more of them than the share; each with the tag it had."""
    tags = ["B-A", "O", "I-B"] * len(words)
    before = sentence(words, tags[: len(words)])
    after = CHANGES[kind](before, share, generator(seed))
    assert len(after.words) == len(words)
    expected = CHANGES[kind](before, 0.0, generator()).tags
    assert after.tags == expected
    pairs = [(a, b) for a, b in zip(words, after.words, strict=True) if a != b]
    if kind not in ("lower", "upper", "sign-width"):
        free = sum(any(map(str.isalnum, word)) for word in words)
        assert len(pairs) <= max(1, round(share * free))
    for one, other in pairs:
        undo = {
            "homoglyphs": "".join(LATIN.get(letter, letter) for letter in other),
            "full-width": unicodedata.normalize("NFKC", other),
            "invisible": other.translate(dict.fromkeys(map(ord, INVISIBLE))),
            "lower": one if other == one.lower() else "",
            "upper": one if other == one.upper() else "",
        }
        assert undo.get(kind, one) == one
        if kind in ENGLISH:
            assert one.isascii()
        if kind in ("homophones", "lookalikes"):
            assert not one.isascii() and len(one) == len(other)
            (place,) = [
                n for n, pair in enumerate(zip(one, other, strict=True)) if len({*pair}) > 1
            ]
            assert other[place] in doubles(SOUNDS if kind == "homophones" else LOOKS)[one[place]]


def edits(word: str) -> set[str]:
    """Every single mistake, by brute force over places."""
    found = set()
    for n, letter in enumerate(word):
        found |= {word[:n] + word[n + 1 :], word[:n] + letter * 2 + word[n + 1 :]}
        found |= {word[:n] + key + word[n + 1 :] for key in NEIGHBOURS[letter]}
        found.add(word[:n] + word[n : n + 2][::-1] + word[n + 2 :])
    return found - {word}


def test_a_typo_is_one_mistake_and_each_may_happen():
    drawn = {mistype("paypal", generator(seed)) for seed in range(1500)}
    assert drawn == edits("paypal")
    assert set("qwertyuiopasdfghjklzxcvbnm") == NEIGHBOURS.keys()
    assert all(key in NEIGHBOURS[other] for key, near in NEIGHBOURS.items() for other in near)
    assert set(NEIGHBOURS["g"]) == set("tyfhvb") and set(NEIGHBOURS["q"]) == set("wa")
    assert [mistype(word, generator()) for word in ("a", "42", "在", "")] == ["a", "42", "在", ""]
    assert all(mistype("PAY", generator(seed)).isupper() for seed in range(40))


def test_the_share_is_that_of_the_words():
    before = text_of(" ".join(["paypal"] * 40))
    for kind in ("typos", "homoglyphs", "full-width", "invisible", "doubled", "punctuation"):
        for share, count in ((0.01, 1), (0.2, 8), (1.0, 40)):
            after = CHANGES[kind](before, share, generator())
            words = after.text.split()
            changed = len(words) - 40 if kind == "doubled" else 40 - words.count("paypal")
            assert changed == count, (kind, share)
            assert share_changed(before, after) == pytest.approx(count / 40)


def test_each_list_has_a_character_once_and_only_chinese_ones():
    for groups in (SOUNDS, LOOKS):
        counts = Counter("".join(groups.split()))
        assert max(counts.values()) == 1 and all(len(group) > 1 for group in groups.split())
        low, high = HAN[HAN.index("\u4e00")], "\u9fff"
        assert all(low <= character <= high for character in counts)


def test_signs_of_chinese_change_their_width_there_and_back():
    change = CHANGES["sign-width"]
    before = text_of("他说：“好，去北京！”（下午）。Then, he left (3.14).")
    after = change(before, 0.2, generator())
    assert after.text == "他说:“好,去北京!”(下午).Then, he left (3.14)."
    assert change(after, 0.2, generator()) == before


def test_punctuation_goes_and_comes():
    before = text_of("Who, then, was he (at 5%)?")
    assert CHANGES["no-punctuation"](before, 0.2, generator()).text == "Who then was he at 5%"
    entity = sentence(["St", ".", "Ives", ",", "UK", "."], ["B-L", "I-L", "I-L", "O", "B-L", "O"])
    after = CHANGES["no-punctuation"](entity, 1.0, generator())
    assert after.words == ("St", ".", "Ives", "UK") and after.tags == ("B-L", "I-L", "I-L", "B-L")
    added = CHANGES["punctuation"](text_of("我们 go"), 1.0, generator()).text
    assert (
        len(added) == len("我们 go") + 3 and added[1] in "，。；：！？、" and added[-1] in ",.;:!?…"
    )
    plain = sentence(["cats", "purr"], ["NNS", "VBP"])
    assert CHANGES["punctuation"](plain, 1.0, generator()) == plain


def test_a_doubled_word_has_its_tag():
    after = CHANGES["doubled"](sentence(["Ada", "met", "我"], ["B-P", "O", "O"]), 1.0, generator())
    assert after.words == ("Ada", "met", "met", "我", "我") and after.tags == ("B-P", *["O"] * 4)
    after = CHANGES["doubled"](sentence(["Ada", "met"], ["NNP", "VBD"]), 1.0, generator())
    assert after.tags == ("NNP", "NNP", "VBD", "VBD")
    assert CHANGES["doubled"](text_of("我 met"), 1.0, generator()).text == "我我 met met"


def test_a_distractor_stands_at_an_end_of_the_right_text():
    change = CHANGES["distractor"]
    text, other = "Who was he?", "他是谁？"
    ends = set()
    for seed in range(20):
        after = change(text_of(text), 0.1, generator(seed)).text
        (added,) = [s for s in SENTENCES if after in (f"{text} {s}", f"{s} {text}")]
        ends.add(after.startswith(added))
        chinese = change(text_of(other), 0.1, generator(seed)).text
        assert any(chinese in (other + s, s + other) for s in CHINESE)
        pair = change(SentenceExample(text=text, pair=other, source="f:1"), 0.1, generator(seed))
        ends.add((pair.text == text, pair.pair == other))
        asked = change(question(text, "He was Ada .", ("Ada", 7)), 0.1, generator(seed))
        assert asked.question == text and asked.context != "He was Ada ."
        choice = ChoiceExample(text=text, options=("a", "b"), right=0, source="f:1")
        assert change(choice, 0.1, generator(seed)).options == ("a", "b")
    assert ends == {True, False, (True, False), (False, True)}
    long = text_of(" ".join(["word"] * 50))
    assert len(change(long, 0.3, generator()).to_words()) >= 65
    tagged = sentence(["Ada", "met"], ["B-P", "O"])
    after = change(tagged, 0.1, generator())
    assert Counter(after.tags) == {"B-P": 1, "O": len(after.words) - 1}
    plain = sentence(["Ada", "met"], ["NNP", "VBD"])
    assert change(plain, 0.1, generator()) == plain
