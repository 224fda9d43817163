"""The options of robust fine-tuning: each method by its strength, and 0 leaves it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, between, check_bounds

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

ADVERSARIES = ("fgm", "pgd", "freelb")


@dataclass(frozen=True)
class RobustOptions:
    """Train on more than the plain loss of the labels."""

    GROUPS: ClassVar[Mapping[str, str]] = {"fgm": "robustness"}
    """First option of each group -> the heading of the group in the help."""

    fgm: float = 0.0
    """Train also on embeddings that are moved by this distance, over all tokens of a text, to where
    the loss is larger (FGM: 1 is usual); 0: off."""

    pgd: float = 0.0
    """The same in several smaller steps, which stay within this distance (PGD); 0: off."""

    freelb: float = 0.0
    """Train on the embeddings of each step of such an ascent, which starts from noise, in place of
    the plain ones (FreeLB); 0: off."""

    ascent_steps: int = 3
    """Steps of pgd and freelb; each costs a forward and a backward pass."""

    ascent_rate: float = 0.0
    """Length of such a step; 0: 2.5 times the distance, divided by the number of steps."""

    rdrop: float = 0.0
    """Make two passes with different dropout agree: the weight of the divergence of their
    predictions (R-Drop: 1 to 5 is usual); 0: off."""

    smart: float = 0.0
    """Make small changes of the embeddings change the predictions little: the weight of their
    divergence (SMART: 1 is usual); 0: off."""

    ema: float = 0.0
    """Evaluate and keep a moving average of the weights, in which each step weighs this many times
    as much as the next one (0.99 is usual); 0: off."""

    swa: float = 0.0
    """Evaluate and keep the mean of the weights after each step of this last share of the steps
    (stochastic weight averaging: 0.25 is usual, with --schedule constant); 0: off."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            fgm=at_least(0),
            pgd=at_least(0),
            freelb=at_least(0),
            rdrop=at_least(0),
            smart=at_least(0),
            ema=between(0, 1, open_="]"),
            swa=between(0, 1),
            ascent_steps=at_least(1),
            ascent_rate=at_least(0),
        )
        adversaries = [name for name in ADVERSARIES if getattr(self, name)]
        if len(adversaries) > 1:
            raise UserError(
                f"{' and '.join(adversaries)} perturb the embeddings, each in its way: choose one"
            )

        if self.ema and self.swa:
            raise UserError("ema and swa average the weights, each in its way: choose one")

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.rdrop and not config.dropout:
            raise UserError("rdrop compares passes with different dropout: dropout must be above 0")
