"""Scores equal scikit-learn's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from finetune import Report

LABELS = ("a", "b", "c", "d", "e")
pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(pairs)
def test_scores_equal_scikit_learn(rows):
    """Also for labels that never occur, are never predicted, or neither."""
    true, predicted = np.array(rows, np.int64).T
    report = Report.of(LABELS, true, predicted)
    numbers = list(range(5))
    assert np.array_equal(report.confusion, confusion_matrix(true, predicted, labels=numbers))
    assert report.accuracy == pytest.approx(accuracy_score(true, predicted))
    wanted = precision_recall_fscore_support(true, predicted, labels=numbers, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
        assert [row[name] for row in report.per_label.values()] == pytest.approx(list(values))
    # scikit-learn, too, averages over the labels that it sees, unless it is told others.
    assert report.macro_f1 == pytest.approx(
        f1_score(true, predicted, average="macro", zero_division=0)
    )
    again = json.loads(json.dumps(report.to_json()))
    assert again["confusion"] == report.confusion.tolist() and again["labels"] == list(LABELS)


@pytest.mark.parametrize(
    "labels",
    [("yes", "no"), ("$x_{", "a$b$c", "_^\\"), tuple(f"label {i}" for i in range(120))],
    ids=["two", "formulas", "many"],
)
def test_the_confusion_matrix_is_drawn(labels, tmp_path):
    numbers = np.arange(len(labels))
    Report.of(labels, numbers, numbers[::-1].copy()).draw(tmp_path / "deep" / "confusion.png")
    picture = (tmp_path / "deep" / "confusion.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width = int.from_bytes(picture[16:20])
    assert 300 < width < 4000
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["confusion.png"]
