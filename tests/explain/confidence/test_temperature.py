"""The temperature and the measures: against scikit-learn and SciPy, and by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from plainformer.base import UserError
from plainformer.explain.confidence import Measures, best_temperature, binned
from plainformer.explain.confidence.answered import softmax
from plainformer.finetune.metrics import ClassMetric
from tests.explain.confidence.drawn import KNOWN, drawn


def nll(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    x = logits / temperature
    return float((np.logaddexp.reduce(x, 1) - x[np.arange(len(x)), truth]).sum())


def test_the_temperature_is_that_of_scipy_and_scikit_learn() -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    logits, truth = drawn()

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(4)

        def fit(self, X: Any, y: Any) -> "Given":
            return self

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, X: Any) -> Any:
            return X.argmax(1)

        def decision_function(self, X: Any) -> Any:
            return X

    found = best_temperature(logits, truth)
    least = minimize_scalar(lambda x: nll(logits, truth, np.exp(x)), tol=1e-12)
    assert np.log(found) == pytest.approx(least.x, abs=1e-6)
    theirs = CalibratedClassifierCV(FrozenEstimator(Given()), method="temperature", ensemble=False)
    theirs.fit(logits, truth)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert found == pytest.approx(1 / beta, rel=1e-6)
    assert found == pytest.approx(KNOWN, rel=0.1)
    for shift in (0.999, 1.001):
        assert nll(logits, truth, found) < nll(logits, truth, found * shift)


def test_no_temperature_for_a_model_that_never_errs_or_knows_nothing() -> None:
    logits = np.eye(4)[[0, 1, 2, 3]]
    with pytest.raises(UserError, match="right, or nearly, in all of 4 answers"):
        best_temperature(logits, np.arange(4))
    with pytest.raises(UserError, match="no temperature helps"):
        best_temperature(logits, np.array([1, 2, 3, 0]))
    with pytest.raises(UserError, match=r"below 0\.01: the answers are all but equally probable"):
        best_temperature(1e-4 * logits, np.array([0, 1, 2, 0]))


def test_measures_are_those_of_scikit_learn_and_by_hand() -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    logits, truth = drawn(500)
    p = softmax(logits)
    found = Measures.of(p, truth)
    assert found.nll == pytest.approx(log_loss(truth, p))
    assert found.brier == pytest.approx(brier_score_loss(truth, p, scale_by_half=False))
    names = [str(n) for n in range(4)]
    ours = ClassMetric(names)
    for row, true in zip(p, truth, strict=True):
        said = dict(zip(names, row.tolist(), strict=True))
        ours.add(str(true), max(said, key=lambda name: said[name]), said)
    assert found.ece_width == pytest.approx(ours.calibration_error)
    assert found.accuracy == ours.accuracy

    confidence, right = np.array([0.5, 0.6, 0.9, 0.7]), np.array([True, False, True, True])
    halves = binned(confidence, right, "mass", bins=2)
    assert halves.counts.tolist() == [2, 2] and halves.accuracy.tolist() == [0.5, 1.0]
    assert halves.error == pytest.approx(0.5 * abs(0.5 - 0.55) + 0.5 * abs(1.0 - 0.8))
    wide = binned(confidence, right, "width", bins=2)
    assert wide.counts.tolist() == [4] and wide.error == pytest.approx(abs(0.75 - 0.675))


def test_scaling_to_the_known_temperature_calibrates() -> None:
    logits, truth = drawn(20_000)
    before, after = (Measures.of(softmax(logits / t), truth) for t in (1.0, KNOWN))
    assert before.ece_width > 0.1 > 0.02 > after.ece_width
    assert before.ece_mass > 0.1 > 0.02 > after.ece_mass
