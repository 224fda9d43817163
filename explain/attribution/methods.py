"""List the methods of attribution by name, and what each promises."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from plainformer.explain.attribution.gradients import gradient_x_input
from plainformer.explain.attribution.integrated_gradients import (
    integrated_gradients,
    share_missing,
)
from plainformer.explain.attribution.judge import agreement
from plainformer.explain.attribution.lime import lime
from plainformer.explain.attribution.occlusion import occlusion
from plainformer.explain.attribution.relevance import relevance
from plainformer.explain.attribution.rollout import rollout
from plainformer.explain.attribution.shapley import kernel_shap, partition_shap
from plainformer.explain.attribution.variants import Variants

Table = Float[np.ndarray, "decisions words"]


@dataclass(frozen=True)
class Attributed:
    """The attributions of a method, with the measures of their quality that it has."""

    attributions: Table
    gaps: Float[np.ndarray, " decisions"] | None = None
    """The error of the sum of the attributions, as a share of what it should be; None for a method
    without such a sum."""
    stability: Float[np.ndarray, " decisions"] | None = None
    """The rank correlation of two seeds; None: no chance in it."""


@dataclass(frozen=True)
class Method:
    """A method of attribution."""

    attribute: Callable[[Variants, int], Attributed]
    """Compute the attributions, with a seed."""
    needs_gradients: bool = False


def _integrated(variants: Variants, _seed: int) -> Attributed:
    found = integrated_gradients(variants)
    return Attributed(found.attributions, found.gaps)


def _relevance(variants: Variants, _seed: int) -> Attributed:
    found, sums = relevance(variants)
    value = variants.values(np.ones((1, len(variants.words)), bool))[0]
    return Attributed(found, share_missing(sums, value))


def _plain(attribute: Callable[[Variants], Table]) -> Callable[[Variants, int], Attributed]:
    return lambda variants, _seed: Attributed(attribute(variants))


def _drawn(attribute: Callable[[Variants, int], Table]) -> Callable[[Variants, int], Attributed]:
    def twice(variants: Variants, seed: int) -> Attributed:
        one, other = attribute(variants, seed), attribute(variants, seed + 1)
        alike = [agreement(*rows) for rows in zip(one, other, strict=True)]
        return Attributed(one, stability=np.array(alike))

    return twice


METHODS: dict[str, Method] = {
    "integrated-gradients": Method(_integrated, needs_gradients=True),
    "gradient-x-input": Method(_plain(gradient_x_input), needs_gradients=True),
    "occlusion": Method(_plain(occlusion)),
    "rollout": Method(_plain(rollout), needs_gradients=True),
    "relevance": Method(_relevance, needs_gradients=True),
    "lime": Method(_drawn(lime)),
    "shap": Method(_drawn(kernel_shap)),
    "partition-shap": Method(_plain(partition_shap)),
}
