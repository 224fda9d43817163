"""Find labels that are probably wrong by confident learning.

    t_j    = mean of p(j | x) over the examples x with the given label j
    j*(x)  = argmax of p(j | x) over the labels j with p(j | x) ≥ t_j
    C[i,j] = the number of examples with the given label i and j* = j
    N[i,j] = C[i,j] / Σ_j C[i,j] · the number of examples with the given label i

(Northcutt et al. 2021, arXiv:1911.00068.) p comes from models that were not trained on x. The
thresholds t, the mean self-confidence of each label, allow for labels of which the model is more or
less sure. N estimates how many labels i should be j, of the examples without a j*, too. For each
such pair, the N[i,j] examples with the largest p(j | x) − p(i | x) are doubtful, if it is above 0.
"""

import numpy as np
from jaxtyping import Float, Int

NONE = -1
"""No label."""


def thresholds(
    given: Int[np.ndarray, " examples"], p: Float[np.ndarray, "examples labels"]
) -> Float[np.ndarray, " labels"]:
    """Compute the mean self-confidence of each label; infinity for one that no example has."""
    means = [p[given == j, j].mean() if (given == j).any() else np.inf for j in range(p.shape[1])]
    return np.array(means, np.float64)


def confident_joint(
    given: Int[np.ndarray, " examples"], p: Float[np.ndarray, "examples labels"]
) -> Int[np.ndarray, "labels labels"]:
    """Count the examples by given and confident label; those without the latter are left out."""
    reaches = p >= thresholds(given, p)
    best = np.where(reaches, p, -np.inf).argmax(1)
    some = reaches.any(1)
    counts = np.zeros((p.shape[1], p.shape[1]), np.int64)
    np.add.at(counts, (given[some], best[some]), 1)
    return counts


def estimated_counts(
    given: Int[np.ndarray, " examples"], p: Float[np.ndarray, "examples labels"]
) -> Float[np.ndarray, "labels labels"]:
    """Estimate how many examples there are of each given and each true label."""
    joint = confident_joint(given, p)
    sizes = np.bincount(given, minlength=len(joint))
    counts: Float[np.ndarray, "labels labels"] = (
        joint / np.maximum(joint.sum(1, keepdims=True), 1) * sizes[:, None]
    )
    return counts


def suggestions(
    given: Int[np.ndarray, " examples"], p: Float[np.ndarray, "examples labels"]
) -> Int[np.ndarray, " examples"]:
    """Suggest another label for the doubtful examples, and `NONE` for the others."""
    counts = np.rint(estimated_counts(given, p)).astype(np.int64)
    found = np.full(len(given), NONE)
    margins = np.zeros(len(given))
    for i, j in zip(*np.nonzero(counts), strict=True):
        places = np.flatnonzero(given == i)
        gain = p[places, j] - p[places, i]  # 0 where i = j, so a label never suggests itself
        first = np.argsort(-gain, kind="stable")[: counts[i, j]]
        better = first[gain[first] > margins[places[first]]]
        found[places[better]], margins[places[better]] = j, gain[better]
    return found
