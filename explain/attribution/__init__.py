"""Attribute what a model decides to the words of its input.

explainer = Explainer.load("runs/labels")
(found,) = explainer.explain(["who wrote this?"], "integrated-gradients")
print(found[0].decision, found[0].ranked()[:3])
"""

from plainformer.explain.attribution.explainer import Explainer, Explanation
from plainformer.explain.attribution.methods import METHODS

__all__ = ["METHODS", "Explainer", "Explanation"]
