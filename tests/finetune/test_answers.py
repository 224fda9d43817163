"""The scores of answers, held against the rules of SQuAD's scorer as its papers tell them."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.finetune.metrics import AnswerMetric
from plainformer.finetune.metrics.spans import exact_match, normalised, word_f1

PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def words(answer: str) -> list[str]:
    """What is left of an answer, character by character and word by word."""
    kept = "".join(c for c in answer.lower() if c not in PUNCTUATION)
    runs, inside = [""], False
    for c in kept:  # an article is a whole run of what may stand in a word
        is_word = c.isalnum() or c == "_"
        runs = [*runs, c] if is_word != inside else [*runs[:-1], runs[-1] + c]
        inside = is_word
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def slow_f1(answer: str, gold: str) -> Fraction:
    """From precision and recall of the words."""
    said, right = words(answer), words(gold)
    if not said or not right:
        return Fraction(said == right)
    left = Counter(right)
    common = 0
    for word in said:
        if left[word] > 0:
            left[word] -= 1
            common += 1
    if common == 0:
        return Fraction(0)
    precision, recall = Fraction(common, len(said)), Fraction(common, len(right))
    return 2 * precision * recall / (precision + recall)


WORDS = ("a", "an", "the", "The", "cat", "cat,", "CAT's", "café", "İ", "茶", "a-b", ",", "_")
ANSWERS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(WORDS)).map(" ".join))


@given(ANSWERS, st.lists(ANSWERS, max_size=4))
def test_the_rules(answer, gold):
    compared = [g for g in gold if words(g)] or [""]
    assert normalised(answer).split() == words(answer)
    assert exact_match(answer, gold) == any(words(g) == words(answer) for g in compared)
    assert word_f1(answer, gold) == pytest.approx(float(max(slow_f1(answer, g) for g in compared)))


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("The Cat.", ["cat"], True, 1),
        ("a cat", ["the dog", "an  CAT!"], True, 1),
        ("black cat", ["cat"], False, 2 / 3),
        ("cat cat", ["cat"], False, 2 / 3),  # a word counts as often as in both
        ("cat dog", ["cat cat dog"], False, 0.8),
        ("cat", ["dog", "a black cat"], False, 2 / 3),  # the best of the gold answers
        ("the U.S.", ["US"], True, 1),
        ("theatre", ["atre"], False, 0),
        ("pizza", ["pizz"], False, 0),
        ("co-op", ["coop"], True, 1),
        ("“cat”", ["cat"], False, 0),  # only ASCII's punctuation is left out
        ("CAFÉ", ["café"], True, 1),
        ("茶館", ["茶"], False, 0),
        ("the", ["cat"], False, 0),
        ("", ["cat"], False, 0),
        ("", [], True, 1),
        ("the", [], True, 1),  # an article is nothing
        ("cat", [], False, 0),
        ("", ["the"], True, 1),  # and a gold answer of articles alone is none
        ("", ["the", "cat"], False, 0),
        ("a", ["the"], True, 1),
    ],
)
def test_by_hand(answer, gold, exact, f1):
    assert exact_match(answer, gold) is exact
    assert word_f1(answer, gold) == pytest.approx(f1)


def measured(*pairs: tuple[str, list[str]]) -> AnswerMetric:
    metric = AnswerMetric()
    for answer, gold in pairs:
        metric.add(gold, answer, 0.5)
    return metric


def test_where_every_question_has_an_answer_there_is_no_breakdown():
    metric = measured(("cat", ["cat"]), ("black cat", ["cat"]), ("", ["cat"]))
    assert metric.scores() == pytest.approx({"f1": 5 / 9, "exact_match": 1 / 3})
    assert [row[0] for row in metric.tables()[0].rows] == ["with an answer"]


def test_questions_with_and_without_an_answer_are_also_told_apart():
    metric = measured(("cat", ["cat"]), ("black cat", ["cat"]), ("", []), ("cat", []), ("", []))
    assert metric.scores() == pytest.approx(
        {
            "f1": (1 + 2 / 3 + 1 + 0 + 1) / 5,
            "exact_match": 3 / 5,
            "has_answer_f1": 5 / 6,
            "has_answer_exact_match": 1 / 2,
            "no_answer_accuracy": 2 / 3,
        }
    )
    assert metric.to_json() == {"examples": 5, **metric.scores()}
    first, second = metric.tables()[0].rows
    assert first == ["with an answer", 2, pytest.approx(5 / 6), 0.5]
    assert second == ["without an answer", 3, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert [(m.true, m.predicted) for m in metric.mistakes] == [
        ("cat", "black cat"),
        ("(no answer)", "cat"),
    ]


def test_nothing_measured_is_nothing_scored():
    assert AnswerMetric().scores() == {"f1": 0, "exact_match": 0}
