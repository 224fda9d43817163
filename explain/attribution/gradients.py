"""Attribute by the gradient at the input: gradient × input (Shrikumar et al. 2016,
arXiv:1605.01713).

    aₜ = (xₜ − bₜ) · ∂F/∂xₜ        x the token vectors, b those of the baseline, F the decision

The first-order estimate of what F loses when token t is masked; one forward and one backward pass.
With b = 0, the usual choice for images, it would say little: the norm after the embeddings takes
the scale of x away, so the gradient is nearly at right angles to x.
"""

import numpy as np
from jaxtyping import Float

from plainformer.explain.attribution.variants import Variants


def gradient_x_input(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    x, b = variants.vectors
    gradients = variants.gradients([1.0])[0]  # (decisions, tokens, size)
    return variants.of_words((gradients * (x - b)).sum(-1))
