"""Draw the task of each step: by the numbers of examples, at a temperature.

    p(task) ∝ n ^ (1 / T)

n is the number of training examples. T = 1 draws each example equally often, a large T each task;
between them small tasks are seen more often than in proportion, but not as often as large ones
(Raffel et al. 2019, arXiv:1910.10683, §3.5.2).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

SALT = 17
"""Salt of the draws, which differ from other draws with the same seed."""


def probabilities(sizes: Sequence[int], temperature: float) -> Float[np.ndarray, " tasks"]:
    """Return the probability of each task, from the number of its examples."""
    logs = np.log(sizes) / temperature
    powers = np.exp(logs - logs.max())
    shares: Float[np.ndarray, " tasks"] = powers / powers.sum()
    return shares


class TaskOrder:
    """The task of each step, and the number of its steps before: a function of the seed."""

    def __init__(self, shares: Float[np.ndarray, " tasks"], seed: int) -> None:
        self._bounds = np.cumsum(shares)[:-1]
        self._rng = np.random.default_rng([seed, SALT])
        self._steps: list[tuple[int, int]] = []
        self._counts = [0] * len(shares)

    def __call__(self, step: int) -> tuple[int, int]:
        """Return the number of the task of `step` (from 0), and of its steps before."""
        while len(self._steps) <= step:
            task = int(np.searchsorted(self._bounds, self._rng.random(), side="right"))
            self._steps.append((task, self._counts[task]))
            self._counts[task] += 1
        return self._steps[step]
