"""Attribute by occlusion: what the decision loses when one word is masked.

    a_w = F(x) − F(x without w)        (Li et al. 2016, arXiv:1612.08220)

One forward pass for each word, in batches. It needs no gradient, so int8 models have it, too.
"""

import numpy as np
from jaxtyping import Float

from plainformer.explain.attribution.variants import Variants


def occlusion(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    words = len(variants.words)
    kept = np.concatenate([np.ones((1, words), bool), ~np.eye(words, dtype=bool)])
    whole, *without = variants.values(kept)
    return np.reshape(whole - np.array(without), (words, len(variants.decisions))).T
