"""Measure what typos, other letters, distractors and worse do to a model's answers.

    found = stress([Path("runs/labels")], "trec", Settings(("typos", "hotflip")))
    found.effects[0].own.drop, found.effects[0].own.interval

Each kind of change is a function of its own: `CHANGES["typos"](example, 0.2, generator)`.
"""

from plainformer.explain.stress.changes import CHANGES, KINDS, change_of
from plainformer.explain.stress.hotflip import HotFlip
from plainformer.explain.stress.measure import Settings, measure
from plainformer.explain.stress.run import Stressed, stress

__all__ = ["CHANGES", "KINDS", "HotFlip", "Settings", "Stressed", "change_of", "measure", "stress"]
