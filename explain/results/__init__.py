"""Score any selection of some examples: a group, the rows of a sample, those that were changed.

results = results_of(task)
results.add(example, prediction)
results.finish()
values, counts = results.values(rows)
"""

from plainformer.explain.results.by_task import results_of
from plainformer.explain.results.results import Measure, Results, Rows, Values

__all__ = ["Measure", "Results", "Rows", "Values", "results_of"]
