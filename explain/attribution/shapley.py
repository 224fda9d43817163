"""Attribute by Shapley values: SHAP's estimates, by its library (Lundberg and Lee 2017,
arXiv:1705.07874).

    a_w = mean over the sets S of other words of  F(S ∪ w) − F(S)        Σ a_w = F(x) − F(nothing)

A word that is not in the set is masked. Words beyond a dozen are too many for all sets: Kernel SHAP
draws a sample of them. Partition SHAP needs no chance: it halves the text again and again, and
shares out what a part is worth between its halves (Owen's values), first where it is worth most.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from plainformer.base.extras import need
from plainformer.explain.attribution.variants import Variants
from plainformer.explain.attribution.words import WordOf

SAMPLES = 512
"""Sets of words that are drawn, or tried."""
SAMPLES_PER_WORD = 4
"""Kernel SHAP draws at least as many for each word: it solves for one number a word."""


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
        samples = max(SAMPLES, SAMPLES_PER_WORD * words)
        values = explainer.shap_values(
            np.ones((1, words)), nsamples=samples, l1_reg=False, silent=True
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.reshape(values, (words, len(variants.decisions))).T


def partition_shap(variants: Variants) -> Float[np.ndarray, "decisions words"]:
    """Compute the attribution of each word to each decision."""
    need("shap", extra="explain", purpose="SHAP")
    import shap

    words = len(variants.words)
    if words == 1:  # nothing to part
        return kernel_shap(variants)
    masker = shap.maskers.Partition(np.zeros((1, words)), clustering=halves(variants.words))
    explainer = shap.PartitionExplainer(
        lambda kept: variants.values(np.asarray(kept).astype(bool)), masker
    )
    found = explainer(np.ones((1, words)), max_evals=SAMPLES, batch_size=64, silent=True)
    return np.reshape(found.values, (words, len(variants.decisions))).T


def halves(words: Sequence[WordOf]) -> Float[np.ndarray, "joints 4"]:
    """Return the tree of halves in the rows of SciPy's `linkage`: first texts, then their words.

    A row joins two nodes, words or earlier rows (their number + words), with a height (the number
    of its words) and the number of its words.
    """
    rows: list[tuple[int, int, int, int]] = []

    def join(one: int, other: int, size: int) -> int:
        rows.append((one, other, size, size))
        return len(words) + len(rows) - 1

    def tree(start: int, end: int) -> int:
        if end - start == 1:
            return start
        middle = (start + end) // 2
        return join(tree(start, middle), tree(middle, end), end - start)

    texts = [word.text for word in words]
    starts = [n for n, text in enumerate(texts) if n == 0 or text != texts[n - 1]]
    ends = [*starts[1:], len(words)]
    root = tree(starts[0], ends[0])
    for start, end in zip(starts[1:], ends[1:], strict=True):
        root = join(root, tree(start, end), end)
    return np.array(rows, dtype=np.float64)
