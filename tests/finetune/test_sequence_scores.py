"""The table of a sequence of tasks: means and forgetting against numbers by hand."""

import math

import pytest

from plainformer.finetune.continual import SequenceScores

SCORES = SequenceScores(
    tasks=("a", "b", "c"),
    measures={"a": "accuracy", "b": "f1", "c": "accuracy"},
    rows=[{"a": 0.9}, {"a": 0.6, "b": 0.8}, {"a": 0.7, "b": 0.5, "c": 0.75}],
)


def test_mean_and_forgetting():
    assert [SCORES.mean(step) for step in range(3)] == pytest.approx([0.9, 0.7, 0.65])
    assert math.isnan(SCORES.forgetting(0))
    assert SCORES.forgetting(1) == pytest.approx(0.3)
    assert SCORES.forgetting(2) == pytest.approx((0.2 + 0.3) / 2)


def test_the_table_has_a_row_for_each_step():
    table = SCORES.table()
    assert table.columns == ("after", "a: accuracy", "b: f1", "c: accuracy", "mean", "forgetting")
    assert [row[0] for row in table.rows] == ["a", "b", "c"]
    assert table.rows[1][1:3] == (0.6, 0.8) and math.isnan(table.rows[1][3])
    found = SCORES.to_json()
    assert found["after"]["b"] == {"a": 0.6, "b": 0.8} and len(found["forgetting"]) == 2


def test_the_figure_has_a_line_for_each_task():
    (axes,) = SCORES.figure().axes
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert lines == [[[0, 0.9], [1, 0.6], [2, 0.7]], [[1, 0.8], [2, 0.5]], [[2, 0.75]]]
