"""A step whose loss or gradient norm is out of all proportion.

    x is a spike   when x − μ > 6σ, or when it is no finite number
    μ  ← μ + w(x − μ)
    σ² ← (1 − w)(σ² + w(x − μ)²)          w = 1/n, and from the 128th step on 1/128

So μ and σ are those of the steps so far at first, and then follow the last 128 or so, as in ZClip
(Kumar et al. 2025, arXiv:2504.02507). A step is judged by its loss and its gradient norm, with the
6 deviations of OLMo, which leaves such steps out (`SkipStepOptimizer` of OLMo-core); PaLM left out
the batches around a spike (Chowdhery et al. 2022, section 5.1). What is a spike does not count in
μ and σ, and until 64 steps have been seen nothing is one that is finite.
"""

import math
from dataclasses import dataclass, field

DEVIATIONS = 6
WINDOW = 128
IN_A_ROW = 10
"""spikes in a row that are no exception any more"""


@dataclass
class Spikes:
    """What is usual in a run; kept in its checkpoints."""

    seen: int = 0
    mean: dict[str, float] = field(default_factory=dict)
    variance: dict[str, float] = field(default_factory=dict)
    in_a_row: int = 0
    """of the last steps, how many were spikes"""

    def see(self, **values: float) -> bool:
        """Whether a step of these values is a spike; if it is not, it counts as usual."""
        if any(self._is_spike(name, value) for name, value in values.items()):
            self.in_a_row += 1
            return True
        self.in_a_row = 0
        self.seen += 1
        weight = max(1 / self.seen, 1 / WINDOW)
        for name, value in values.items():
            mean, variance = self.mean.get(name, 0.0), self.variance.get(name, 0.0)
            self.mean[name] = mean + weight * (value - mean)
            self.variance[name] = (1 - weight) * (variance + weight * (value - mean) ** 2)
        return False

    def _is_spike(self, name: str, value: float) -> bool:
        if not math.isfinite(value):
            return True
        if self.seen < WINDOW // 2:
            return False
        return value - self.mean[name] > DEVIATIONS * math.sqrt(self.variance[name])
