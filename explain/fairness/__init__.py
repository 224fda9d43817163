"""Measure for whom a model fails: its scores and rates in each group of the rows of a file.

And whether its answers change when he becomes she: counterfactual swaps.

found = Fairness.load("runs/labels").of_groups("test.csv", ["gender"])
flips = Fairness.load("runs/labels").of_swaps("test.csv", ["pronouns"])
"""

from plainformer.explain.fairness.flips import SwapReport
from plainformer.explain.fairness.gaps import Compared, compare
from plainformer.explain.fairness.measure import Fairness, GroupReport
from plainformer.explain.fairness.swap_lists import BUILT_IN, SwapList, load_list
from plainformer.explain.fairness.tables import direction_table, gap_table, rate_table, score_table

__all__ = [
    "BUILT_IN",
    "Compared",
    "Fairness",
    "GroupReport",
    "SwapList",
    "SwapReport",
    "compare",
    "direction_table",
    "gap_table",
    "load_list",
    "rate_table",
    "score_table",
]
