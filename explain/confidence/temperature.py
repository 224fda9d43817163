"""Fit the temperature at which a model's probabilities are the most likely.

    T = argmin −Σ log softmax(z / T)[y]                        (Guo et al. 2017, arXiv:1706.04599)

In β = 1 / T the sum is convex, with the slope

    Σ ( Σₖ softmax(β z)ₖ zₖ − z_y )

which grows with β: T is its only root. Each label of several, and each word of a tagger, is a term
of its own. A tagger of entities divides all scores, those of a CRF's transitions too, and a word's
term is what it predicts: the marginal −log p(tag | words) of its legal sequences, whose slope is
computed backwards.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64

from plainformer.base import UserError, plural
from plainformer.explain.confidence.answered import Answered, softmax
from plainformer.finetune.calibration import HIGHEST, LOWEST
from plainformer.finetune.losses.label_smoothing import IGNORED
from plainformer.finetune.prediction.predictor import Progress, no_progress
from plainformer.finetune.tasks.tagging.crf import Posterior
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.training.accelerator import widest_float

COLDEST = 1e6
"""A β at which only the most probable answers count, unless outputs are all but equal."""

Slope = Callable[[float], float]


def fit_temperature(answered: Answered, progress: Progress = no_progress) -> float:
    """Fit the temperature of a model; raise `UserError` where no temperature is the best."""
    truth = answered.truth
    if isinstance(answered.task, Tagging) and answered.task.marks_entities:
        return solved(slope_of_marginals(answered, progress), len(truth))
    return best_temperature(answered.logits(), truth)


def best_temperature(
    logits: Float[np.ndarray, "questions answers"], truth: Int64[np.ndarray, " questions"]
) -> float:
    """Compute the temperature with the least −log p of the true answers."""
    of_truth = np.take_along_axis(logits, truth[:, None], 1)[:, 0]

    def slope(beta: float) -> float:
        expected = (softmax(beta * logits) * logits).sum(1)
        return float((expected - of_truth).sum())

    return solved(slope, len(truth))


def slope_of_marginals(answered: Answered, progress: Progress) -> Slope:
    """Return the slope of −log p(tag | words) in β, summed over the words."""

    def slope(beta: float) -> float:
        total = 0.0
        for examples, batch, outputs in answered.batches:
            logits = outputs.logits.to(widest_float(outputs.logits.device))
            tags = batch.targets[outputs.places]
            known = tags != IGNORED
            factor = logits.new_tensor(beta).requires_grad_()
            chain, scores = outputs.chain.like(logits).scaled(factor), logits * factor
            logs = Posterior.of(chain, scores, outputs.sentences).log_marginals()[known]
            losses = -logs.gather(1, tags[known][:, None])
            (gradient,) = torch.autograd.grad(losses.sum(), factor)
            total += float(gradient)
            progress(len(examples))
        return total

    return slope


def solved(slope: Slope, count: int) -> float:
    """Return 1 / β at the root of a slope that grows with β.

    Raises `UserError` where it has none: the sum falls as T goes to 0, or to infinity.
    """
    from scipy.optimize import brentq

    few, many = np.log(1 / HIGHEST), np.log(1 / LOWEST)
    if slope(1 / LOWEST) <= 0:
        if slope(COLDEST) > 0:
            raise UserError(
                f"the best temperature is below {LOWEST}: the answers are all but equally probable "
                "to the model; train it for longer"
            )
        raise UserError(
            f"the model is right, or nearly, in all of {plural(count, 'answer')} that the "
            "temperature is fitted to: give more rows"
        )
    if slope(1 / HIGHEST) >= 0:
        raise UserError(
            "the true answers are not more probable than others: no temperature helps; is "
            "this the right data?"
        )
    root = brentq(lambda log_beta: slope(float(np.exp(log_beta))), few, many, xtol=1e-13)
    return float(np.exp(-root))
