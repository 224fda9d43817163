"""Predictions as labels, and their confidence."""

from typing import Any

import numpy as np
import pytest

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
    texts = [[word.text for word in e.to_words()] for e in (labelled, example)]
    assert texts[0] == texts[1] and labelled.source == example.source
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
