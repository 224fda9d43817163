"""Areas and curves of scikit-learn, to the last digit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from plainformer.finetune.metrics.roc import StreamingROC, mean_area


def ranking_of(truth: np.ndarray, probabilities: np.ndarray) -> StreamingROC:
    """Both `(texts, labels)`."""
    ranking = StreamingROC(truth.shape[1])
    for row, said in zip(truth, probabilities, strict=True):
        ranking.add(row, said)
    return ranking


apart = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=50)


@given(apart)
def test_areas_are_exact_where_probabilities_are_well_apart(rows) -> None:
    """Ties among them count half."""
    truth = np.array([[is_true] for is_true, _ in rows])
    probabilities = np.array([[(step + 0.5) / 21] for _, step in rows])
    (area,) = ranking_of(truth, probabilities).areas()
    if truth.all() or not truth.any():
        assert math.isnan(area)
    else:
        assert area == pytest.approx(roc_auc_score(truth, probabilities), abs=1e-12)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=2, max_size=50),
    st.sampled_from([0.0, 17.0, 30.0]),
)
def test_areas_are_those_of_scikit_learn(rows, confidence) -> None:
    """Also of twenty texts, and where the model is all but certain."""
    truth = np.array([[is_true] for is_true, _ in rows])
    p = np.array([[value] for _, value in rows])
    probabilities = p if not confidence else 1 / (1 + np.exp(-confidence - p))
    if truth.all() or not truth.any():
        return
    (area,) = ranking_of(truth, probabilities).areas()
    assert area == pytest.approx(roc_auc_score(truth, probabilities), abs=1e-12)


def test_areas_of_random_probabilities_and_memory() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((3000, 3)) < (0.5, 0.1, 0.9)
    odds = rng.normal(size=(3000, 3)) * (1, 3, 6) + truth
    probabilities = 1 / (1 + np.exp(-odds))
    ranking = ranking_of(truth, probabilities)
    held = len(ranking._is_true) + 8 * len(ranking._probabilities)
    assert held == 9 * truth.size
    for label, area in enumerate(ranking.areas()):
        theirs = roc_auc_score(truth[:, label], probabilities[:, label])
        assert area == pytest.approx(theirs, abs=1e-12)


def test_a_long_curve_keeps_its_ends_and_its_course() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.random((5000, 1)) < 0.3, rng.random((5000, 1))
    false, true = ranking_of(truth, probabilities).curve(0, points=100)
    assert len(false) == 101
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    exact = roc_curve(truth, probabilities, drop_intermediate=False)
    assert {*zip(false, true, strict=True)} <= {*zip(*exact[:2], strict=True)}


@given(apart)
def test_the_curve_has_the_corners_of_scikit_learn(rows) -> None:
    truth = np.array([[is_true] for is_true, _ in rows])
    probabilities = np.array([[(step + 0.5) / 21] for _, step in rows])
    if truth.all() or not truth.any():
        return
    false, true, _ = roc_curve(truth, probabilities, drop_intermediate=False)
    ours = ranking_of(truth, probabilities).curve(0)
    np.testing.assert_allclose(ours[0], false)
    np.testing.assert_allclose(ours[1], true)


def test_a_label_that_all_texts_have_or_none_is_not_in_the_mean() -> None:
    truth = np.array([[True, False, True], [True, False, False], [True, False, False]])
    probabilities = np.array([[0.9, 0.1, 0.6], [0.8, 0.2, 0.7], [0.7, 0.3, 0.2]])
    areas = ranking_of(truth, probabilities).areas()
    assert np.isnan(areas).tolist() == [True, True, False]
    assert mean_area(areas) == 0.5
    assert math.isnan(mean_area(areas[:2]))
