"""Looking into a model: does it compute what `transformers` computes, and if not, from where on?"""

from plainformer.explain.compare import Comparison, compare_folder
from plainformer.explain.parity import Difference, compare_models

__all__ = ["Comparison", "Difference", "compare_folder", "compare_models"]
