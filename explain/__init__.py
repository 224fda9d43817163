"""Compare a model with `transformers`, and find the first part whose output differs."""

from plainformer.explain.compare import Comparison, compare_folder
from plainformer.explain.parity import Difference, compare_models

__all__ = ["Comparison", "Difference", "compare_folder", "compare_models"]
