"""The options of robust fine-tuning: each method by its strength, and 0 leaves it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, at_least, between, check_bounds, refuse_unused
from plainformer.finetune.tasks.sequence import SequenceTask

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
    """Train also on embeddings that are moved by several smaller steps, within this distance, to
    where the loss is larger (PGD: 1 is usual); 0: off."""

    freelb: float = 0.0
    """Train on the embeddings of every step of an ascent of the loss, which starts from noise and
    stays within this distance, in place of the plain ones (FreeLB: 1 is usual); 0: off."""

    ascent_steps: int = 3
    """Steps of pgd and freelb; each costs a forward and a backward pass."""

    ascent_rate: float = 0.0
    """Length of a step of pgd and freelb; 0: 2.5 times the distance, divided by the number of
    steps."""

    rdrop: float = 0.0
    """Make two passes with different dropout agree: the weight of the divergence of their
    predictions (R-Drop: 1 to 5 is usual); 0: off."""

    smart: float = 0.0
    """Make small changes of the embeddings change the predictions little: the weight of their
    divergence (SMART: 1 is usual); 0: off."""

    mixup: float = 0.0
    """Train on mixtures of the vectors and the labels of two texts, in shares drawn from
    Beta(X, X) (0.2 is usual: mostly of one text); for tasks on whole texts; 0: off."""

    ema: float = 0.0
    """Evaluate and keep a moving average of the weights, in which each step weighs this many times
    as much as the next one (0.99 is usual); 0: off."""

    swa: float = 0.0
    """Evaluate and keep the mean of the weights after each step of this last share of the steps
    (stochastic weight averaging: 0.25 is usual, with --schedule constant; and --no-select, or
    weights from before this share may score best and be kept); 0: off."""

    l2_sp: float = 0.0
    """Pull the weights of the encoder towards the pretrained ones, by this times their distance, in
    place of weight decay, which is left to a new head (L2-SP: 0.01 is usual); 0: off."""

    reinit_layers: int = 0
    """Draw this many layers from the top anew, and BERT's pooler: they are the most specific to
    pretraining."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            fgm=at_least(0),
            pgd=at_least(0),
            freelb=at_least(0),
            rdrop=at_least(0),
            smart=at_least(0),
            mixup=at_least(0),
            l2_sp=at_least(0),
            reinit_layers=at_least(0),
            ema=between(0, 1, open_="]"),
            swa=between(0, 1),
            ascent_steps=at_least(1),
            ascent_rate=at_least(0),
        )
        if not (self.pgd or self.freelb):
            refuse_unused(self, ("ascent_steps", "ascent_rate"), "pgd or freelb")
        adversaries = [name for name in ADVERSARIES if getattr(self, name)]
        if len(adversaries) > 1:
            raise UserError(
                f"{' and '.join(adversaries)} perturb the embeddings, each in its way: choose one"
            )

        if self.mixup and (self.fgm or self.pgd):
            raise UserError(
                f"mixup draws another mixture in each pass of {adversaries[0]}, which would follow "
                "the loss of one that is not trained: choose one, or freelb, which keeps it"
            )
        if self.ema and self.swa:
            raise UserError("ema and swa average the weights, each in its way: choose one")

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.rdrop and not config.dropout:
            raise UserError("rdrop compares passes with different dropout: dropout must be above 0")
        if config.tuning.adalora and (self.ema or self.swa > 0.5):
            raise UserError(
                "adalora sets numbers to 0 in the first half of the steps, and their average is "
                "not 0: leave out ema, or take a swa of at most 0.5"
            )
        if self.mixup and not issubclass(config.kind, SequenceTask):
            raise UserError(
                f"mixup mixes the vectors of whole texts, and {config.task.name} has other targets"
            )
        if self.reinit_layers and config.from_scratch:
            raise UserError("from_scratch draws every layer anew: leave out reinit_layers")
