"""Scale the loss for fp16, in which gradients below 6·10⁻⁸ are 0, and above 65504 infinite.

    g = ∇(S · loss) / S
    S ← S / 2    after a step with a gradient that is not finite; the step is left out
    S ← 2 S      after 2000 steps in a row without one

(Micikevicius et al. 2018, arXiv:1710.03740, §3.2.) `torch.amp.GradScaler` does the same, from
S = 65536. Here S begins lower, since it multiplies a sum over items and not their mean. All
processes decide alike: they have the same norm of the gradients.
"""

from dataclasses import dataclass

FACTOR, INTERVAL = 2.0, 2000
SMALLEST = 2.0**-14
"""The smallest scale: an infinite gradient at it is not for lack of range, and ends the run."""


@dataclass
class LossScale:
    """The scale S; saved in checkpoints."""

    scale: float = 64.0
    in_a_row: int = 0
    """Number of steps since S changed."""
    overflows: int = 0
    """Number of steps that were left out."""

    def overflows_at(self, is_finite: bool) -> bool:
        """Update S after a step; return whether to leave the step out."""
        if is_finite:
            self.in_a_row += 1
            if self.in_a_row == INTERVAL:
                self.scale, self.in_a_row = self.scale * FACTOR, 0
            return False
        self.in_a_row = 0
        if self.scale <= SMALLEST:
            return False
        self.scale, self.overflows = self.scale / FACTOR, self.overflows + 1
        return True
