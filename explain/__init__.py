"""Looking into a model: does it compute what `transformers` computes, and if not, from where on?"""

from explain.compare import Comparison, compare_folder
from explain.parity import Difference, compare_models

__all__ = ["Comparison", "Difference", "compare_folder", "compare_models"]
