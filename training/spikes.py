"""Detect steps whose loss or gradient norm is an outlier.

    x is a spike   when x − μ > 6σ, or when it is no finite number
    μ  ← μ + w₁₆ (x − μ)
    σ² ← σ² + w₁₂₈ ((x − x′)² / 2 − σ²)        x′ is the value before x;  wₙ = 1/steps, at least 1/n

μ follows the last 16 steps or so. σ is the noise from one step to the next (von Neumann et al.
1941): the steep descent at the beginning is no noise, so a spike right after it is seen too. A step
is judged by its loss and its gradient norm, with the 6 deviations of OLMo, which leaves such steps
out (`SkipStepOptimizer` of OLMo-core); PaLM left out the batches around a spike (Chowdhery et al.
2022, section 5.1). A spike does not change μ and σ. In the first 64 steps only a value that is not
finite is a spike.
"""

import math
from dataclasses import dataclass, field

DEVIATIONS = 6
MEAN_WINDOW, NOISE_WINDOW = 16, 128
FIRST_STEPS = 64
IN_A_ROW = 10
"""The number of spikes in a row that ends a run."""


@dataclass
class Spikes:
    """Track mean and noise of each value over the last steps; saved in checkpoints."""

    seen: int = 0
    mean: dict[str, float] = field(default_factory=dict)
    variance: dict[str, float] = field(default_factory=dict)
    previous: dict[str, float] = field(default_factory=dict)
    in_a_row: int = 0
    """The number of consecutive spikes up to now."""

    def see(self, **values: float) -> bool:
        """Tell whether a step with these values is a spike; if not, update mean and noise."""
        if any(self._is_spike(name, value) for name, value in values.items()):
            self.in_a_row += 1
            return True
        self.in_a_row = 0
        for name, value in values.items():
            if self.seen:
                jump = (value - self.previous[name]) ** 2 / 2
                weight = max(1 / self.seen, 1 / NOISE_WINDOW)
                self.variance[name] += weight * (jump - self.variance[name])
            mean, weight = self.mean.get(name, value), max(1 / (self.seen + 1), 1 / MEAN_WINDOW)
            self.mean[name] = mean + weight * (value - mean)
            self.variance.setdefault(name, 0.0)
            self.previous[name] = value
        self.seen += 1
        return False

    def _is_spike(self, name: str, value: float) -> bool:
        if not math.isfinite(value):
            return True
        if self.seen < FIRST_STEPS:
            return False
        return value - self.mean[name] > DEVIATIONS * math.sqrt(self.variance[name])
