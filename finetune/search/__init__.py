"""Search for the best options of a run with Optuna: many trials, a seed and a study.

    found = run_search(SearchConfig(model=…, train=…, out=Path("runs/search"), trials=30))
    print(found.best.values, found.best.score)      # the run itself is in runs/search/best

Trials are proposed by TPE (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"),
and stop early where their score is below the median of the others at the same share of their steps
(`trials.py`). The study is in a storage that processes share (`study.py`).
"""

from typing import TYPE_CHECKING

from plainformer.base import UserError
from plainformer.finetune.search.options import SearchConfig

if TYPE_CHECKING:
    from plainformer.finetune.search.report import Found

__all__ = ["SearchConfig", "run_search"]


def run_search(config: SearchConfig, quiet: bool = False) -> "Found":
    """Make the trials of a search, and leave the best run in `config.out`/best.

    Raises:
        UserError: Optuna is not installed, the examples cannot be read, or the folder holds another
            search.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError("search needs Optuna: pip install optuna") from error
    from plainformer.finetune.search.trials import run_trials

    return run_trials(config, quiet)
