"""Find, read, compare and draw the runs of pretraining and fine-tuning from their folders.

The training packages are not imported, so that runs are listed quickly, also while another process
is still writing them. The plots are in `runs.curves`, which is not imported here.
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
