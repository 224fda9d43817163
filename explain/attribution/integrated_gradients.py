"""Attribute by integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365).

    aₜ = (xₜ − bₜ) · ∫₀¹ ∂F/∂xₜ (b + α (x − b)) dα        Σₜ aₜ = F(x) − F(b)

x are the token vectors of the input, b those with the mask in place of each word: special tokens
stay. The integral is Clenshaw's and Curtis's sum over the points (1 − cos kπ/n) / 2, k = 0 … n.
How far the attributions are from adding up to F(x) − F(b) says how good it is, so n is doubled
until they do, to 1e-3 of it; the points of n are among those of 2n, and are computed once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.data.batch import BATCH_TOKENS

FIRST, MOST = 8, 512
"""n: at first, and at most."""
TOLERANCE = 1e-3
"""The share of F(x) − F(b) by which the sum of the attributions may differ from it."""
SMALL = 0.05
"""A difference F(x) − F(b) below this counts as this: shares of nothing say nothing."""


@dataclass(frozen=True)
class Integrated:
    """Attributions, how far their sums are from F(x) − F(b), and the points that it took."""

    attributions: Float[np.ndarray, "decisions words"]
    gaps: Float[np.ndarray, " decisions"]
    """As a share of F(x) − F(b)."""
    points: int


def integrated_gradients(variants: Variants) -> Integrated:
    """Compute the attribution of each word to each decision."""
    nothing = np.zeros((1, len(variants.words)), bool)
    change = (variants.values(~nothing) - variants.values(nothing))[0]  # (decisions,)
    n, products = FIRST, products_at(variants, points(FIRST))  # (points, decisions, words)
    while True:
        attributions = np.einsum("a,adw->dw", weights(n), products)
        gaps = share_missing(attributions.sum(-1), change)
        if gaps.max(initial=0.0) <= TOLERANCE or n >= MOST:
            return Integrated(attributions, gaps, n + 1)
        n *= 2
        both = np.empty((n + 1, *products.shape[1:]))
        both[::2], both[1::2] = products, products_at(variants, points(n)[1::2])
        products = both


def share_missing(
    sums: Float[np.ndarray, " decisions"], whole: Float[np.ndarray, " decisions"]
) -> Float[np.ndarray, " decisions"]:
    """Compute by how much the sums of attributions miss what they should be, as a share of it."""
    found: Float[np.ndarray, " decisions"] = np.abs(sums - whole) / np.maximum(np.abs(whole), SMALL)
    return found


def products_at(
    variants: Variants, alphas: Float[np.ndarray, " points"]
) -> Float[np.ndarray, "points decisions words"]:
    """Compute (x − b) · ∂F/∂x at b + α (x − b), for each α; memory does not grow with them."""
    size = max(1, BATCH_TOKENS // variants.item.num_tokens)
    some = [alphas[start : start + size].tolist() for start in range(0, len(alphas), size)]
    return np.concatenate([variants.products(part) for part in some])


def points(n: int) -> Float[np.ndarray, " points"]:
    """Return the n + 1 points in [0, 1]."""
    found: Float[np.ndarray, " points"] = (1 - np.cos(np.arange(n + 1) * np.pi / n)) / 2
    return found


def weights(n: int) -> Float[np.ndarray, " points"]:
    """Return the weights of the points, for an even n; they add up to 1.

    wₖ = cₖ/n · (1 − Σⱼ bⱼ cos(2jkπ/n) / (4j² − 1)) / 2,   j = 1 … n/2, where b is 2 and its last 1,
    and c is 2, and 1 at both ends.
    """
    k, j = np.arange(n + 1), np.arange(1, n // 2 + 1)
    b, c = np.full(len(j), 2.0), np.full(n + 1, 2.0)
    b[-1] = c[0] = c[-1] = 1.0
    sums = np.cos(2 * np.outer(k, j) * np.pi / n) @ (b / (4 * j**2 - 1))
    found: Float[np.ndarray, " points"] = c / n * (1 - sums) / 2
    return found
