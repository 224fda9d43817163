"""LIME and SHAP: what comes of them is what their libraries find, called by hand on strings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from plainformer.explain.attribution.lime import SAMPLES, lime
from plainformer.explain.attribution.shapley import halves, kernel_shap, partition_shap
from plainformer.explain.attribution.variants import Variants
from tests.explain.test_attribution import FIRST, variants

WORDS = FIRST.split()


@pytest.fixture
def parts() -> tuple[Variants, Callable[[Any], np.ndarray]]:
    """A regression of one text, and its score as a function of strings, by the predictor."""
    of, explainer, _ = variants("regression")
    assert [word.string for word in of.words] == WORDS and len(WORDS) == 8

    def score(texts: Any) -> np.ndarray:
        return np.array([[one.score] for one in explainer.predictor(list(texts))])

    return of, score


def text_of(of: Variants, kept: Any) -> str:
    """The words that are kept, and as many masks as the others have pieces."""
    strings = (
        word.string if stays else " ".join(["[MASK]"] * len(word.places))
        for word, stays in zip(of.words, kept, strict=True)
    )
    return " ".join(strings)


def test_lime_by_hand(parts: Any) -> None:
    """Its explainer of texts, which splits and joins strings itself."""
    library = pytest.importorskip("lime.lime_text")
    of, score = parts

    def masked(texts: list[str]) -> np.ndarray:
        """The library writes one mask a word; a word of two pieces has two."""
        rows = [np.array(text.split()) == WORDS for text in texts]
        return score(text_of(of, row) for row in rows)

    explainer = library.LimeTextExplainer(
        split_expression=r"\s+",
        bow=False,
        mask_string="[MASK]",
        feature_selection="none",
        random_state=3,
    )
    found = explainer.explain_instance(
        FIRST, masked, labels=(0,), num_features=8, num_samples=SAMPLES
    )
    theirs = [weight for _, weight in sorted(found.as_map()[0])]
    np.testing.assert_allclose(lime(of, seed=3)[0], theirs, atol=1e-5)
    assert np.abs(theirs).max() > 1e-2


def test_kernel_shap_by_hand(parts: Any) -> None:
    shap = pytest.importorskip("shap")
    of, score = parts
    library = shap.KernelExplainer(
        lambda rows: score(text_of(of, row) for row in rows), np.zeros((1, 8))
    )
    theirs = library.shap_values(np.ones((1, 8)), silent=True)
    np.testing.assert_allclose(kernel_shap(of)[0], theirs[0, :, 0], atol=1e-5)


def test_partition_shap_by_hand(parts: Any, interpreted: None) -> None:
    """On SciPy's tree of distances: two words are as far as the part is long that holds both."""
    import shap
    from scipy.cluster.hierarchy import linkage

    of, score = parts
    distances = [
        next(n for n in (2, 4, 8) if i // n == j // n) for i in range(8) for j in range(i + 1, 8)
    ]
    masker = shap.maskers.Partition(np.zeros((1, 8)), clustering=linkage(distances, "complete"))
    library = shap.PartitionExplainer(lambda rows: score(text_of(of, row) for row in rows), masker)
    theirs = library(np.ones((1, 8)), max_evals=SAMPLES, silent=True).values[0, :, 0]
    ours = partition_shap(of)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(ours).max() > 1e-2


def test_parts_of_two_texts(interpreted: None) -> None:
    """Each text is a part of its own; the values add up to what masking all words changes."""
    of, _, _ = variants("sentence-embedding")
    texts = [word.text for word in of.words]
    tree, words = halves(of.words), len(texts)
    held: list[set[int]] = [{n} for n in range(words)]
    for one, other, height, size in tree.astype(int):
        held.append(held[one] | held[other])
        assert len(held[-1]) == size == height
        assert sorted(held[-1]) == list(range(min(held[-1]), max(held[-1]) + 1))
    assert {n for n in range(words) if texts[n] == 0} in held and len(held[-1]) == words
    every = np.ones((1, words), bool)
    change = (of.values(every) - of.values(~every))[0]
    np.testing.assert_allclose(partition_shap(of).sum(1), change, atol=1e-6)
