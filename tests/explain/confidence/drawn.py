"""Logits, and answers that are drawn from their probabilities at a known temperature."""

import numpy as np

from plainformer.explain.confidence.answered import softmax

KNOWN = 2.0
"""The temperature of the labels that are drawn."""


def drawn(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and answers that are drawn at the known temperature."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((count, 4))
    p = softmax(logits / KNOWN)
    return logits, (p.cumsum(1) < rng.random((count, 1))).sum(1)
