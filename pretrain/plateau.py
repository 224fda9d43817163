"""The early plateau: a model that has learned the frequencies of tokens, and no context."""

import math
from collections.abc import Mapping

from rich.console import Console

from plainformer.training import is_main


class PlateauWatch:
    """Warn once when the held-out loss stays at that of a model without context.

    The loss is then above 95 % of the entropy of single tokens, at the end or with a gain of less
    than 2 % since the last evaluation. `metric` is the loss of a token; None: never warn.
    """

    def __init__(self, entropy: float, metric: str | None) -> None:
        self.entropy, self.metric = entropy, metric
        self._before = math.inf
        self._warned = False

    def see(self, metrics: Mapping[str, float], is_last: bool = False) -> bool:
        """Compare an evaluation with the one before; return whether a warning was given."""
        if self.metric is None:
            return False
        loss = metrics[self.metric]
        stays = loss > 0.95 * self.entropy and (is_last or loss > 0.98 * self._before)
        self._before = loss
        if self._warned or not stays:
            return False
        self._warned = True
        Console(stderr=True, quiet=not is_main()).print(
            f"[yellow]the held-out loss ({loss:.2f}) is not well below {self.entropy:.2f}, the "
            "entropy of single tokens: the model knows at best how frequent they are, and nothing "
            "of context yet. More steps, a higher learning rate, smaller batches or a modern "
            "preset help.[/]",
            soft_wrap=True,
        )
        return True
