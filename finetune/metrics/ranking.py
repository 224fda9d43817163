"""How well probabilities rank: the ROC curve of each label and the area under it, in a stream.

AUC(label) is the chance that a text of the label is given a higher probability than one that is
not, ties counting half. Probabilities are counted in bins of log(p / (1 − p)), fine enough for the
area to agree with the exact one to three places, so memory does not grow with the number of texts.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from finetune.metrics.metric import share

WIDEST = 18.0
"""log-odds beyond which probabilities are not told apart: 1.5 in 100 million"""
BINS = 8192


class Ranking:
    """Counts, for each label, the probabilities of the texts that have it, and of the others."""

    def __init__(self, num_labels: int) -> None:
        self._counts = np.zeros((num_labels, 2, BINS), np.int64)
        self._labels = np.arange(num_labels)

    def add(
        self, is_true: Bool[np.ndarray, " labels"], probabilities: Float[np.ndarray, " labels"]
    ) -> None:
        """Count one text: which labels it has, and how probable each was said to be."""
        self._counts[self._labels, is_true.astype(np.int64), bins(probabilities)] += 1

    def areas(self) -> Float[np.ndarray, " labels"]:
        """The area under the curve of each label; NaN where all texts have it, or none."""
        others, own = self._counts[:, 0].astype(np.float64), self._counts[:, 1].astype(np.float64)
        below = others.cumsum(1) - others
        won = (own * (below + others / 2)).sum(1)
        pairs = own.sum(1) * others.sum(1)
        areas = np.full(len(pairs), np.nan)
        np.divide(won, pairs, out=areas, where=pairs > 0)
        return areas

    def curve(self, label: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The ROC curve of a label: shares of the others and of its own above each threshold."""
        from_top = self._counts[label, :, ::-1].cumsum(1)
        corners = np.diff(from_top.sum(0), prepend=0) > 0
        kept = from_top[:, corners] / np.maximum(from_top[:, -1:], 1)
        return np.concatenate([[0.0], kept[0]]), np.concatenate([[0.0], kept[1]])


def bins(probabilities: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The number of the bin of each probability; a higher one is never in a lower bin."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    odds = np.clip(np.log(p) - np.log1p(-p), -WIDEST, WIDEST)
    numbers: Int64[np.ndarray, " n"] = (
        ((odds + WIDEST) / (2 * WIDEST) * BINS).astype(np.int64).clip(max=BINS - 1)
    )
    return numbers


def mean_area(areas: Float[np.ndarray, " labels"]) -> float:
    """The plain mean over the labels that have an area; 0 where none has."""
    known: list[float] = areas[~np.isnan(areas)].tolist()
    return share(sum(known), len(known))
