"""Attribute by Shapley values: SHAP's estimate, by its library (Lundberg and Lee 2017,
arXiv:1705.07874).

    a_w = mean over the sets S of other words of  F(S ∪ w) − F(S)        Σ a_w = F(x) − F(nothing)

A word that is not in the set is masked. Words beyond a dozen are too many for all sets, of which
then a sample is drawn.
"""

import numpy as np
from jaxtyping import Float

from plainformer.base.extras import need
from plainformer.explain.attribution.variants import Variants

SAMPLES = 512
"""Sets of words that are drawn."""


def kernel_shap(variants: Variants, seed: int = 0) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    need("shap", extra="explain", purpose="SHAP")
    import shap

    words = len(variants.words)
    # The library draws from the global generator, which is left as it was.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        explainer = shap.KernelExplainer(
            lambda kept: variants.values(kept.astype(bool)), np.zeros((1, words))
        )
        values = explainer.shap_values(
            np.ones((1, words)), nsamples=SAMPLES, l1_reg=False, silent=True
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.reshape(values, (words, len(variants.decisions))).T
