"""Keep what `plainformer calibrate` found: how sure a model is, and when it should abstain.

    p(y | x)   = softmax(z / T)[y]           temperature (Guo et al. 2017, arXiv:1706.04599)
    set(x)     = {y : s(x, y) ≤ q}           prediction set (Angelopoulos & Bates 2021,
                                             arXiv:2107.07511), with the score s one of
      lac        1 − p(y | x)
      aps        the sum of p(y' | x) over all y' that come before y, and y, the most probable first
                                             (Romano et al. 2020, arXiv:2006.02544)
    interval   = prediction ± q              of a number, with s the absolute error
    abstained  where the confidence is below a threshold

A task divides its outputs by T before anything is computed from them. T keeps the labels; so the
thresholds of probabilities, where a task has some, move with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from jaxtyping import Float

from plainformer.base import UserError, at_least, between, check_bounds

T = TypeVar("T")
SetScore = Literal["lac", "aps"]
LOWEST, HIGHEST = 0.01, 100.0
"""The bounds of a temperature."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the thresholds of prediction sets and of abstaining."""

    temperature: float = 1.0
    """The number that outputs are divided by before they become probabilities."""
    set_score: SetScore = "lac"
    """The score of an answer, which is in the set up to `set_threshold`."""
    set_threshold: float | None = None
    """The q of prediction sets and intervals; None: none are predicted."""
    least_confidence: float | None = None
    """The confidence below which the model abstains; None: it always answers."""

    def __post_init__(self) -> None:
        """Check the values: `task.json` may be damaged or from another program."""
        check_bounds(
            self,
            temperature=between(LOWEST, HIGHEST),
            set_threshold=at_least(0),
            least_confidence=between(0, 1),
        )

    def set_of(self, names: Sequence[str], probabilities: Sequence[float]) -> tuple[str, ...]:
        """Return the answers whose score is at most the threshold, the most probable first.

        The set may be empty: then no answer looks like those of the calibration examples.
        """
        assert self.set_threshold is not None
        p = np.array(probabilities)
        order = np.argsort(-p, kind="stable")
        scores = set_scores(p[None], self.set_score)[0]
        return tuple(names[i] for i in order if scores[i] <= self.set_threshold)


UNCALIBRATED = Calibration()


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The part of a task that obeys a calibration."""

    calibration: Calibration = UNCALIBRATED
    """A temperature, a rule of sets and a threshold of abstaining, fitted to held-out rows."""

    has_sets: ClassVar[bool] = False
    """True where a prediction may come with a set of answers, or with an interval."""

    @property
    def has_probabilities(self) -> bool:
        """Tell whether it chooses among answers by probabilities, which a temperature scales."""
        return type(self).scaled is not Calibrated.scaled

    def scaled(self, outputs: Any, temperature: float) -> Any:
        """Divide outputs by a temperature; a task defines it whose probabilities they give."""
        raise UserError(f"{type(self).__name__} predicts no probabilities of answers")

    def calibrated(self, outputs: T) -> T:
        """Divide outputs by the temperature of the model."""
        temperature = self.calibration.temperature
        if temperature == 1.0:
            return outputs
        scaled: T = self.scaled(outputs, temperature)
        return scaled

    def at(self, temperature: float) -> Self:
        """Return the task at another temperature, without sets, and always answering."""
        return replace(self, calibration=Calibration(temperature))

    def check_calibration(self) -> None:
        """Raise `UserError` for a calibration that the task cannot obey."""
        found, name = self.calibration, type(self).__name__
        scales = (found.temperature, found.least_confidence) != (1.0, None)
        if scales and not self.has_probabilities:
            raise UserError(f"there is a calibration, and {name} predicts no probabilities")
        if found.set_threshold is not None and not self.has_sets:
            raise UserError(f"there is a set_threshold, and {name} predicts no sets")


def set_scores(
    probabilities: Float[np.ndarray, "rows answers"], score: SetScore
) -> Float[np.ndarray, "rows answers"]:
    """Compute the score of each answer: small for one that goes with its text."""
    if score == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.take_along_axis(probabilities, order, 1).cumsum(1)
    scores: Float[np.ndarray, "rows answers"] = np.empty_like(sums)
    np.put_along_axis(scores, order, sums, 1)
    return scores


def moved(threshold: float, before: float, after: float) -> float:
    """Return the threshold of a probability at another temperature that decides the same.

    σ(z / T) ≥ t  ⇔  σ(z / T') ≥ σ(T / T' · logit t)
    """
    if threshold <= 0 or threshold >= 1:
        return threshold
    logit = (math.log(threshold) - math.log1p(-threshold)) * before / after
    return math.exp(min(logit, 0.0)) / (1 + math.exp(-abs(logit)))
