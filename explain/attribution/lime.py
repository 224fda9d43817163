"""Attribute by LIME: a linear model around the input, by its library (Ribeiro et al. 2016,
arXiv:1602.04938).

    a = the weights of a ridge regression of F on which words are there, near the whole text

The neighbours of a text are the text with some words masked; nearer ones weigh more, by the cosine
of which words they keep.
"""

import numpy as np
from jaxtyping import Float

from plainformer.base.extras import need
from plainformer.explain.attribution.variants import Variants

SAMPLES = 512
"""Neighbours that are drawn."""
WIDTH = 25.0
"""Width of the kernel, for distances from 0 to 100: the library's for texts."""


def lime(variants: Variants, seed: int = 0) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    need("lime", extra="explain", purpose="LIME")
    from lime.lime_base import LimeBase

    kept = neighbours(len(variants.words), seed)
    values = variants.values(kept)
    cosine = np.sqrt(kept.sum(1) / kept.shape[1])  # of 0-1 vectors with the vector of ones
    base = LimeBase(
        lambda distances: np.sqrt(np.exp(-(distances**2) / WIDTH**2)), random_state=seed
    )
    found = np.zeros((len(variants.decisions), kept.shape[1]))
    for decision in range(len(variants.decisions)):
        _, weights, *_ = base.explain_instance_with_data(
            kept.astype(float), values, 100 * (1 - cosine), decision, kept.shape[1], "none"
        )
        for word, weight in weights:
            found[decision, word] = weight
    return found


def neighbours(words: int, seed: int) -> np.ndarray:
    """Draw which words each neighbour keeps, as LIME does for texts; the first keeps all."""
    random = np.random.RandomState(seed)  # the library's generator: the same neighbours
    kept = np.ones((SAMPLES, words), bool)
    for row, size in zip(kept[1:], random.randint(1, words + 1, SAMPLES - 1), strict=True):
        row[random.choice(words, size, replace=False)] = False
    return kept
