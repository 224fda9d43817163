"""What runs have left behind: found, read, held against each other, drawn.

Nothing of the rooms that trained is imported: a folder is read while another process fills it, and
a list of runs is there at once. Pictures are in `runs.curves`, which is not imported here.
"""

from plainformer.runs.compare import differing_options, why_not_comparable
from plainformer.runs.run import Evaluation, Run, find_runs, lower_is_better

__all__ = [
    "Evaluation",
    "Run",
    "differing_options",
    "find_runs",
    "lower_is_better",
    "why_not_comparable",
]
