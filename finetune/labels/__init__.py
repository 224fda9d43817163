"""Choose what to label next, and find labels that are probably wrong.

    chosen = propose("runs/topics", "pool.jsonl", count=50, by="margin")      # [(row, score), …]
    found = check_labels("runs/folds")      # of `finetune --folds 5`: Doubts, the surest first

`uncertainty.py` and `coreset.py` score texts without labels; `confident.py` compares given labels
with out-of-fold probabilities. Each begins with its formula and its paper.
"""

from plainformer.finetune.labels.check import Doubt, Doubts, check_labels
from plainformer.finetune.labels.confident import (
    confident_joint,
    estimated_counts,
    suggestions,
    thresholds,
)
from plainformer.finetune.labels.coreset import k_center
from plainformer.finetune.labels.propose import Proposal, propose
from plainformer.finetune.labels.uncertainty import entropy, margin

__all__ = [
    "Doubt",
    "Doubts",
    "Proposal",
    "check_labels",
    "confident_joint",
    "entropy",
    "estimated_counts",
    "k_center",
    "margin",
    "propose",
    "suggestions",
    "thresholds",
]
