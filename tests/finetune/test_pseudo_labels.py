"""Predictions as labels, their confidence, and texts that are rewritten under their labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.corpora import Answer
from plainformer.finetune.data.example import Example, Prediction
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import (
    ClassExample,
    Classification,
    ClassPrediction,
)
from plainformer.finetune.tasks.multi_label import LabelsExample, LabelsPrediction, MultiLabel
from plainformer.finetune.tasks.multiple_choice import (
    ChoiceExample,
    ChoicePrediction,
    MultipleChoice,
)
from plainformer.finetune.tasks.question_answering import (
    AnswerPrediction,
    QuestionAnswering,
    QuestionExample,
    Span,
)
from plainformer.finetune.tasks.regression import Regression, ScoreExample, ScorePrediction
from plainformer.finetune.tasks.relation import RelationExample
from plainformer.finetune.tasks.sentence_embedding import (
    SentenceEmbedding,
    SentenceExample,
    SentencePrediction,
)
from plainformer.finetune.tasks.tagging.sentences import Tags
from plainformer.finetune.tasks.tagging.task import Tagging
from tests.finetune.sentences import sentence

VECTORS = np.array([[1.0, 0.0], [3.0, 4.0]], np.float32)
SPANS = (Span("cat", 4, 7, 0.6), Span("dog", 12, 15, 0.1))
WORDS = Tags(("a", "b"), ("B-A", "O"), (0.7, 0.9), ())
CASES: list[tuple[AnyTask, Example, Prediction, str, float, float]] = [
    (
        Classification(labels=("a", "b"), max_length=8),
        ClassExample(text="t", label=None, source="f:1"),
        ClassPrediction("b", {"b": 0.8, "a": 0.2}),
        "accuracy",
        1.0,
        0.8,
    ),
    (
        MultiLabel(labels=("a", "b", "c"), max_length=8),
        LabelsExample(text="t", labels=None, source="f:1"),
        LabelsPrediction(("b", "a"), {"b": 0.9, "a": 0.7, "c": 0.2}),
        "exact_match",
        1.0,
        0.7,
    ),
    (
        Regression(max_length=8),
        ScoreExample(text="t", score=None, source="f:1"),
        ScorePrediction(2.5),
        "mse",
        0.0,
        1.0,
    ),
    (
        MultipleChoice(max_length=8),
        ChoiceExample(text="t", options=("x", "y", "z"), right=None, source="f:1"),
        ChoicePrediction("z", 2, (0.1, 0.3, 0.6)),
        "accuracy",
        1.0,
        0.6,
    ),
    (
        QuestionAnswering(max_length=8, threshold=0.0),
        QuestionExample(question="q", context="the cat the dog", answers=None, source="f:1"),
        AnswerPrediction(SPANS, no_answer=0.2, margin=-1.0, abstains=False),
        "exact_match",
        1.0,
        0.6,
    ),
    (
        QuestionAnswering(max_length=8, threshold=0.0),
        QuestionExample(question="q", context="the cat the dog", answers=None, source="f:1"),
        AnswerPrediction(SPANS, no_answer=0.7, margin=1.0, abstains=True),
        "exact_match",
        1.0,
        0.7,
    ),
    (
        Tagging(labels=("O", "B-A", "I-A"), decoding="legal", max_length=8),
        sentence(["a", "b"], None),
        WORDS,
        "accuracy",
        1.0,
        0.7,
    ),
    (
        SentenceEmbedding(scale=(0.0, 5.0), max_length=8),
        SentenceExample(text="t", pair="p", source="f:1", labelled=False),
        SentencePrediction(VECTORS, (0.0, 5.0)),
        "mse",
        0.0,
        1.0,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_a_prediction_is_right_of_the_example_that_it_labels(case: Any) -> None:
    task, example, prediction, score, best, confidence = case
    labelled = task.pseudo_label(example, prediction)
    assert labelled.texts == example.texts and labelled.source == example.source
    metric = task.metric()
    task.add_to(metric, labelled, prediction)
    assert metric.scores()[score] == best and not metric.mistakes
    assert prediction.confidence == pytest.approx(confidence)


def test_an_answer_keeps_its_place() -> None:
    task, example, prediction, *_ = CASES[4]
    assert task.pseudo_label(example, prediction).answers == (Answer("cat", 4),)


def test_pairs_without_scores_have_no_label_to_predict() -> None:
    task = SentenceEmbedding(scale=None, max_length=8)
    example = SentenceExample(text="t", pair="p", source="f:1")
    with pytest.raises(UserError, match="SentenceEmbedding predicts no label to learn from"):
        task.pseudo_label(example, SentencePrediction(VECTORS, None))


EXAMPLES: list[Any] = [
    *(case[1] for case in CASES),
    ClassExample(text="t", pair="p", label="a", source="f:1"),
    SentenceExample(text="t", pair="p", negative="n", source="f:1"),
]


def rewritten(example: Any) -> Sequence[str]:
    return [f"{text}!" for text in example.texts]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_texts_are_rewritten_and_nothing_else(example: Any) -> None:
    assert example.with_texts(example.texts) == example
    other = example.with_texts(rewritten(example))
    assert list(other.texts) == rewritten(example) and other != example
    assert other.with_texts(example.texts) == example


@given(st.text("abc ", max_size=12), st.data())
def test_the_entities_of_a_relation_stay(text: str, data: st.DataObject) -> None:
    """Apart, side by side, overlapping or nested: each still reads the same."""
    text = f"x{text}y"
    spans = st.tuples(*[st.integers(0, len(text))] * 2).map(sorted).filter(lambda s: s[0] < s[1])
    head, tail = tuple(data.draw(spans)), tuple(data.draw(spans))
    example = RelationExample(text=text, head=head, tail=tail, label="r", source="f:1")
    assert example.with_texts(example.texts) == example
    parts = data.draw(st.tuples(*[st.text("de ", max_size=4)] * 3))
    between = min(head[1], tail[1]) <= max(head[0], tail[0])
    other = example.with_texts(parts)
    for now, before in ((other.head, head), (other.tail, tail)):
        assert other.text[slice(*now)] == text[slice(*before)]
    assert other.texts == (parts if between else (parts[0], "", parts[2]))
