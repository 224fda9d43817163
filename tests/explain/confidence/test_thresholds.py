"""Sets hold what was asked, and the answered err as seldom as asked: over many splits."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom

from plainformer.base import UserError
from plainformer.explain.confidence import least_confidence, set_threshold
from plainformer.explain.confidence.abstaining import numbers_to_test
from plainformer.explain.confidence.answered import softmax
from plainformer.explain.confidence.conformal import expected_coverage, rank
from plainformer.finetune.calibration import set_scores
from tests.explain.confidence.drawn import drawn


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_the_coverage_of_many_splits_is_beta_binomial(score: Any, coverage: float) -> None:
    splits, count, new = 400, 99, 50
    logits, truth = drawn(splits * (count + new), seed=3)
    scores = set_scores(softmax(logits), score)  # of an uncalibrated model
    mine = np.take_along_axis(scores, truth[:, None], 1).reshape(splits, count + new)
    held = [int((row[count:] <= set_threshold(row[:count], coverage)).sum()) for row in mine]
    low, high = expected_coverage(count, coverage, new)
    inside = np.mean([low <= k / new <= high for k in held])
    assert inside > 0.92  # 95 % and more; of 400 splits
    k = rank(count, coverage)
    spread = betabinom(new, k, count + 1 - k)
    assert abs(np.mean(held) - spread.mean()) < 4 * spread.std() / np.sqrt(splits)
    assert np.std(held) == pytest.approx(spread.std(), rel=0.15)


def test_too_few_rows_for_a_coverage() -> None:
    assert rank(99, 0.9) == 90 and rank(19, 0.95) == 19
    assert set_threshold(np.arange(19.0)[::-1], 0.5) == 9  # the tenth of 19
    with pytest.raises(UserError, match=r"a coverage of 0\.95 needs 19 calibration rows"):
        rank(18, 0.95)


def test_the_numbers_to_test_are_those_of_clopper_and_pearson() -> None:
    """59 without an error, 93 with one, 124 with two: the tables of quality control."""
    assert numbers_to_test(130, 0.05).tolist() == [59, 93, 124, 130]
    assert numbers_to_test(1000, 0.05)[:2].tolist() == [124, 153]


def test_the_error_among_the_answered_is_at_most_the_risk_in_95_of_100_splits() -> None:
    """Confidence c is right with probability c: so the error above θ is known."""
    rng, risk = np.random.default_rng(0), 0.1
    broken = found = 0
    for _ in range(300):
        confidence = rng.uniform(0.5, 1.0, 400)
        right = rng.random(400) < confidence
        with suppress(UserError):  # then it answers nothing
            theta = least_confidence(confidence, right, risk)
            found += 1
            broken += 1 - (theta + 1) / 2 > risk  # the mean of a uniform above θ
    assert found > 100 and broken / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    with pytest.raises(UserError, match="400 rows do not show"):
        least_confidence(rng.uniform(0.5, 1.0, 400), rng.random(400) < 0.5, risk)
