"""Measure how well probabilities agree with how often they are right.

    NLL    −mean log p(true answer)
    Brier  mean Σₖ (pₖ − [k is true])²
    ECE    Σ_b |B_b| / n · | accuracy(B_b) − mean confidence(B_b) |

The confidence is the probability of the most probable answer, and B_b are 15 bins of it: of equal
width, or of equal numbers of answers, so that no bin is all but empty
(Guo et al. 2017, arXiv:1706.04599; Nixon et al. 2019, arXiv:1904.01685).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int64

BINS = 15

Probabilities = Float[np.ndarray, "questions answers"]
Truth = Int64[np.ndarray, " questions"]


@dataclass(frozen=True)
class Bins:
    """The number, the mean confidence and the accuracy of the answers in each bin."""

    counts: Int64[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """Compute the expected calibration error."""
        weights = self.counts / self.counts.sum()
        return float((weights * np.abs(self.accuracy - self.confidence)).sum())


def binned(
    confidence: Float[np.ndarray, " questions"],
    right: Bool[np.ndarray, " questions"],
    by: Literal["width", "mass"] = "width",
    bins: int = BINS,
) -> Bins:
    """Sort answers into bins by their confidence, without those bins that are empty."""
    if by == "width":
        numbers = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    else:
        numbers = np.empty(len(confidence), np.int64)
        ranks = np.arange(len(confidence))
        numbers[np.argsort(confidence, kind="stable")] = ranks * bins // len(confidence)
    counts = np.bincount(numbers, minlength=bins)
    seen = counts > 0
    sums = (np.bincount(numbers, weights, bins)[seen] for weights in (confidence, right))
    mean_confidence, accuracy = (total / counts[seen] for total in sums)
    return Bins(counts[seen], mean_confidence, accuracy)


@dataclass(frozen=True)
class Measures:
    """The measures of one set of probabilities."""

    accuracy: float
    nll: float
    brier: float
    ece_width: float
    ece_mass: float

    @classmethod
    def of(cls, p: Probabilities, truth: Truth) -> "Measures":
        """Compute all measures."""
        confidence, right = p.max(1), p.argmax(1) == truth
        return cls(
            accuracy=float(right.mean()),
            nll=float(log_losses(p, truth).mean()),
            brier=float(brier_scores(p, truth).mean()),
            ece_width=binned(confidence, right, "width").error,
            ece_mass=binned(confidence, right, "mass").error,
        )


def log_losses(p: Probabilities, truth: Truth) -> Float[np.ndarray, " questions"]:
    """Compute −log p of each true answer; a probability that is 0 counts as the least number."""
    of_truth = np.take_along_axis(p, truth[:, None], 1)[:, 0]
    losses: Float[np.ndarray, " questions"] = -np.log(np.maximum(of_truth, np.finfo(float).tiny))
    return losses


def brier_scores(p: Probabilities, truth: Truth) -> Float[np.ndarray, " questions"]:
    """Compute the squared distance of each row from the true answer's."""
    is_true = np.arange(p.shape[1]) == truth[:, None]
    scores: Float[np.ndarray, " questions"] = np.square(p - is_true).sum(1)
    return scores
