"""Look inside a model: where its heads attend, and which of them it needs.

predictor = open_model("runs/labels")
(found, *_) = attention_of(predictor, ["who wrote this?"])
found.weights[0, 3], found.tokens  # of the first layer, the fourth head
"""

from plainformer.explain.inside.ablation import HeadAblation, ablate_heads
from plainformer.explain.inside.attention import SequenceAttention, attention_of, head_statistics
from plainformer.explain.inside.opened import open_model

__all__ = [
    "HeadAblation",
    "SequenceAttention",
    "ablate_heads",
    "attention_of",
    "head_statistics",
    "open_model",
]
