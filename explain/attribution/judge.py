"""Judge explanations: do the words that they rank first decide? (DeYoung et al. 2020,
arXiv:1911.03429; Attanasio et al. 2023, arXiv:2208.01575)

    comprehensiveness = mean over q of  p(x) − p(x without the first q % of words)     high is good
    sufficiency       = mean over q of  p(x) − p(the first q % of words alone)         low is good

p is the certainty of the decision, and q is 5, 10, 20 and 50: at least one word. What is left out
is masked. A random order of the words scores beside it: what is not better says nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from plainformer.explain.attribution.variants import Variants
from plainformer.finetune.metrics.regression import spearman

SHARES = (0.05, 0.1, 0.2, 0.5)
RANDOM_ORDERS = 3


@dataclass(frozen=True)
class Judged:
    """The scores of an explanation, and their means over random orders of the words."""

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float


def judge(
    variants: Variants, attributions: Float[np.ndarray, "decisions words"], seed: int = 0
) -> list[Judged]:
    """Score the attributions to each decision."""
    whole = variants.values(np.ones((1, len(variants.words)), bool), "certainty")[0]
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(variants.words)) for _ in range(RANDOM_ORDERS)]
    by_chance = np.array([scores(variants, order) for order in orders]).mean(0)  # (2, decisions)
    found = []
    for number, row in enumerate(attributions):
        own = scores(variants, np.argsort(-row, kind="stable"))
        pairs = [whole[number] - side[kind, number] for side in (own, by_chance) for kind in (0, 1)]
        found.append(Judged(*map(float, pairs)))
    return found


def scores(
    variants: Variants, order: Int[np.ndarray, " words"]
) -> Float[np.ndarray, "2 decisions"]:
    """Compute the mean certainty without the first words of an order, and with them alone."""
    first = firsts(order)
    certain = variants.values(np.concatenate([~first, first]), "certainty")
    means: Float[np.ndarray, "2 decisions"] = certain.reshape(2, len(first), -1).mean(1)
    return means


def firsts(order: Int[np.ndarray, " words"]) -> Bool[np.ndarray, "shares words"]:
    """Return which words are among the first, for each share."""
    found = np.zeros((len(SHARES), len(order)), bool)
    for row, share in zip(found, SHARES, strict=True):
        row[order[: max(1, round(share * len(order)))]] = True
    return found


def agreement(one: Float[np.ndarray, " words"], other: Float[np.ndarray, " words"]) -> float:
    """Compute Spearman's correlation of two attributions: 1 where they rank words alike."""
    return 1.0 if len(one) < 2 else spearman(one, other)
