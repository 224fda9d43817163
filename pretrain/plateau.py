"""The early plateau: a model that knows how frequent tokens are, and nothing of context."""

import math

from rich.console import Console

from plainformer.training import is_main


class PlateauWatch:
    """Warns, once, when the held-out loss stays where a model without any context would be.

    That is above 95 % of the entropy of single tokens: at the end, or with less than 2 % gained
    from one evaluation to the next.
    """

    def __init__(self, entropy: float) -> None:
        self.entropy = entropy
        self._before = math.inf
        self._warned = False

    def see(self, loss: float, is_last: bool = False) -> bool:
        """Take note of a held-out loss; return whether this is the one to warn at."""
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
