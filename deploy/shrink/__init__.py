"""Make a fine-tuned model smaller or faster: fewer tokens, layers, heads, units; 16 or 8 bits.

shrink(run, "test.csv", out, ShrinkOptions(units=0.3, train="train.csv"))
"""

from plainformer.deploy.measured import Measured
from plainformer.deploy.shrink.folder import shrink
from plainformer.deploy.shrink.options import ShrinkOptions
from plainformer.deploy.shrink.prune import (
    keep_zeros,
    prune_heads,
    prune_layers,
    prune_units,
    prune_weights,
)
from plainformer.deploy.shrink.vocabulary import keep_tokens, trim_vocabulary
from plainformer.finetune.importance import Importance, by_gradient, by_magnitude

__all__ = [
    "Importance",
    "Measured",
    "ShrinkOptions",
    "by_gradient",
    "by_magnitude",
    "keep_tokens",
    "keep_zeros",
    "prune_heads",
    "prune_layers",
    "prune_units",
    "prune_weights",
    "shrink",
    "trim_vocabulary",
]
