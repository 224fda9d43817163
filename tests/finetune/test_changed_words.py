"""Words that are changed: whatever the change, spans read the same and tags follow their words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base.words import words_of
from plainformer.finetune.data.words import Word, join_text, move_spans, split_text, whole_words
from plainformer.finetune.tasks.classification import ClassExample
from plainformer.finetune.tasks.multiple_choice import ChoiceExample
from plainformer.finetune.tasks.regression import ScoreExample
from plainformer.finetune.tasks.relation import RelationExample
from plainformer.finetune.tasks.sentence_embedding import SentenceExample
from plainformer.finetune.tasks.tagging.iob import is_legal, spans
from tests.finetune.passages import example as question
from tests.finetune.sentences import sentence

EXAMPLES: list[Any] = [
    ClassExample(text="The cat, don't!", label="a", source="f:1"),
    ClassExample(text="one  text", pair="我们 爱它。", label="a", source="f:1"),
    ScoreExample(text="a (b) c", score=1.0, source="f:1"),
    SentenceExample(text="t", pair="p q", negative="n", source="f:1"),
    ChoiceExample(text="It is", options=("a cat", "a dog"), right=1, source="f:1"),
    RelationExample(text="Ada met Charles.", head=(0, 3), tail=(8, 15), label="r", source="f:1"),
    question("who met him ?", "Ada Byron met Charles .", ("Byron", 4), ("Ada Byron", 0)),
    question("who ?", "Nobody met Charles ."),
    sentence(["Ada", "Byron", "met", "Ada", "."], ["B-P", "I-P", "O", "B-P", "O"]),
    sentence(["the", "cat", "."], ["DT", "NN", "."]),
    sentence(["the", "cat"], None),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_every_example_is_its_words(example):
    words = example.to_words()
    assert words and example.with_words(words) == example
    louder = tuple(replace(w, text=w.text.upper()) if w.is_free else w for w in words)
    assert example.with_words(louder).with_words(words) == example


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat, don't!", ["The", "cat", ",", "don't", "!"]),
        ("What 's 3.14 in the U.S.?", ["What", "'s", "3.14", "in", "the", "U.S", ".", "?"]),
        ("well-known - yes", ["well-known", "-", "yes"]),
        ("我们don’t爱。", ["我", "们", "don’t", "爱", "。"]),
    ],
)
def test_a_sign_inside_a_word_is_a_part_of_it(text, words):
    assert [text[start:end] for start, end in whole_words(text)] == words
    assert [word.text for word in split_text(text)] == words


@given(st.text() | st.text("ab'.-, 我们"))
def test_a_text_is_its_words_and_the_space_between(text):
    found = words_of(text)
    inside = text[found[0][0] : found[-1][1]] if found else ""
    words = split_text(text)
    joined, places = join_text(words)
    assert joined == inside
    assert [joined[start:end] for start, end in places] == [word.text for word in words]


def test_words_never_run_together():
    words = split_text("2我3")
    assert join_text([words[0], words[2]])[0] == "2 3"
    assert join_text([words[1], words[2]])[0] == "我3"


@given(st.data())
@settings(max_examples=60)
def test_spans_read_the_same_whatever_changes_around_them(data):
    text = "x" + data.draw(st.text("ab'. ,我", max_size=14)) + "y"
    ends = st.tuples(*[st.integers(0, len(text))] * 2).map(sorted).filter(lambda s: s[0] < s[1])
    fixed = [(a, b) for a, b in data.draw(st.lists(ends, min_size=1, max_size=3))]
    words = split_text(text, fixed=fixed)
    assert move_spans(text, fixed, words) == (text, fixed)
    changed = []
    for word in words:
        others = data.draw(st.lists(st.sampled_from(["c", "爱", "d.d"]), max_size=2))
        texts = [word.text] if word.is_fixed else others
        changed += [replace(word, text=other) for other in texts]
    now, moved = move_spans(text, fixed, changed)
    for (a, b), (c, d) in zip(fixed, moved, strict=True):
        assert now[c:d] == text[a:b]


TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B", "S-A", "E-B"]), min_size=1)


@given(TAGS, st.data())
def test_what_is_left_of_entities_is_tagged_in_iob2(tags, data):
    """In any scheme: an entity has as many tags as words that are left or added."""
    example = sentence([str(n) for n in range(len(tags))], tags)
    words = []
    for word in example.to_words():
        words += [word] * data.draw(st.integers(0, 2))
    changed = example.with_words(tuple(words))
    assert changed.words == tuple(word.text for word in words)
    if not any(tag[:2] in ("B-", "I-", "S-", "E-") for tag in tags):
        assert changed.tags == tuple(word.tag for word in words)
    assert changed.tags is not None
    assert all(map(is_legal, changed.tags, ("O", *changed.tags)))
    wanted = []
    for kind, begin, end in spans(tags):
        size = sum(begin <= int(word.text) < end for word in words)
        wanted += [(kind, size)] * bool(size)
    assert [(kind, end - begin) for kind, begin, end in spans(changed.tags)] == wanted


def test_a_changed_choice_is_never_between_equal_options():
    example = EXAMPLES[4]
    words = [word for word in example.to_words() if word.text not in ("cat", "dog")]
    assert example.with_words(tuple(words)).options == ("a cat", "a dog")


def test_what_may_be_changed():
    assert [w.text for w in split_text("the 3 , ( 我 -") if w.is_free] == ["the", "3", "我"]
    assert not Word("cat", is_fixed=True).is_free and not Word("").is_free
    answer = question("who ?", "Ada Byron met her .", ("Ada Byron", 0)).to_words()
    assert [w.text for w in answer if not w.is_free] == ["?", "Ada Byron", "."]
