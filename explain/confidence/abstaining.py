"""Choose the confidence from which on a model answers, so that it errs as rarely as asked.

    answer where confidence ≥ θ,      with P(error among the answered ≤ r) ≥ 1 − δ

At a θ above which n examples have k errors, "the error is above r" is refuted if a
Binomial(n, r) is at most k with a probability of at most δ. The thresholds are tested one after
the other, the surest examples first, up to the first that is not refuted; so all tests together
err with a probability of δ (fixed sequence testing: Angelopoulos et al. 2021, arXiv:2110.01052;
the error by the share that is answered: Geifman & El-Yaniv 2017, arXiv:1705.08500). The tests are
at the numbers n at which one error more becomes allowed, from a tenth of the examples on.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from plainformer.base import UserError, plural

DELTA = 0.05


def least_confidence(
    confidence: Float[np.ndarray, " examples"], right: Bool[np.ndarray, " examples"], risk: float
) -> float:
    """Return the least confidence at which the error is at most `risk`.

    Raises `UserError` where no confidence is enough.
    """
    from scipy.stats import binom

    ranked, found = np.sort(confidence)[::-1], None
    for count in numbers_to_test(len(ranked), risk).tolist():
        answered = confidence >= ranked[count - 1]
        if binom.cdf((answered & ~right).sum(), answered.sum(), risk) > DELTA:
            break
        found = float(ranked[count - 1])
    if found is None:
        raise UserError(
            f"{plural(len(ranked), 'row')} do not show that the model errs in at most {risk:g} of "
            "its surest answers: give more rows, or a larger --risk"
        )
    return found


def numbers_to_test(count: int, risk: float) -> Int64[np.ndarray, " tests"]:
    """Return the numbers of examples at which one error more is allowed, and all of them.

    Those below a tenth are left out: there a single error would end the tests.
    """
    from scipy.stats import binom

    numbers = np.arange(1, count + 1)
    allowed = binom.ppf(DELTA, numbers, risk)  # one error more than is allowed; 0: not even none
    (grows,) = np.nonzero(np.diff(allowed, prepend=0) > 0)
    tested: Int64[np.ndarray, " tests"] = np.unique([*numbers[grows], count])
    return tested[tested >= count / 10]


def risk_curve(
    confidence: Float[np.ndarray, " examples"], right: Bool[np.ndarray, " examples"]
) -> tuple[Float[np.ndarray, " examples"], Float[np.ndarray, " examples"]]:
    """Return the share that is answered and the error among it, from the surest to all."""
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(order) + 1)
    return counts / len(order), (~right[order]).cumsum() / counts
