"""The options of tuning few parameters: each method by its size, and 0 leaves it out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import (
    UserError,
    above,
    at_least,
    between,
    check_bounds,
    did_you_mean,
    refuse_unused,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.adalora import add_adalora
from plainformer.finetune.tuning.bitfit import train_biases
from plainformer.finetune.tuning.bottleneck import add_adapters
from plainformer.finetune.tuning.dora import add_dora
from plainformer.finetune.tuning.ia3 import add_ia3
from plainformer.finetune.tuning.layers import ALL
from plainformer.finetune.tuning.lora import TARGETS, add_lora
from plainformer.finetune.tuning.prefix import add_prefix
from plainformer.finetune.tuning.rank_allocation import RankAllocator
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt
from plainformer.finetune.tuning.unfreeze import unfreeze_gradually

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


LAYERS = ("query", "key", "value", "output", "gate", "up", "down", ALL)
"""The names of the layers of all models, and of the parts of fused ones."""

METHODS = ("lora", "adalora", "ia3", "adapters", "prefix", "soft_prompt", "bitfit", "unfreeze")
"""The options that switch a method on; at most one may be set."""


@dataclass(frozen=True)
class TuningOptions:
    """Train the head, and few parameters of the encoder, or few that are added to it."""

    GROUPS: ClassVar[Mapping[str, str]] = {"lora": "parameter-efficient fine-tuning"}
    """First option of each group -> the heading of the group in the help."""

    lora: int = 0
    """LoRA: freeze the encoder, and train the head and low-rank matrices of this rank, added to the
    frozen ones. 8 is usual, with a learning rate of 5e-4 to 2e-3. 0: off."""

    adalora: int = 0
    """AdaLoRA: LoRA with matrices of this rank on average, larger where it helps more. They start
    with 1.5 times the rank, and reach it after half of the steps. 8 is usual, with a learning rate
    of 5e-3 to 2e-2. 0: off."""

    lora_alpha: float = 16.0
    """Scaling of LoRA and AdaLoRA: the product of the matrices is multiplied by alpha / rank (the
    rank at the start)."""

    lora_dropout: float = 0.0
    """Dropout rate of the input of the matrices of LoRA and AdaLoRA."""

    lora_targets: tuple[str, ...] = TARGETS
    """Linear layers that LoRA and AdaLoRA change: query, key, value, output (of attention), gate
    (of modern encoders), up, down (of the feed-forward layer); or all."""

    dora: bool = False
    """DoRA: train the norm of each row of the changed layers, too."""

    ia3: bool = False
    """IA³: train the head and scales of the keys, the values and the inner activations of the
    feed-forward layers, with a learning rate of 3e-3 to 1e-2."""

    adapters: int = 0
    """Bottleneck adapters: train the head and small layers of this size, one after each
    feed-forward layer. 64 is usual, with a learning rate of 1e-4 to 1e-3. 0: off."""

    adapters_twice: bool = False
    """Add an adapter after each attention, too."""

    prefix: int = 0
    """Prefix tuning: train the head, and this many keys and values that every token of a text sees
    in each layer. 20 is usual, with a learning rate of 5e-3 to 1e-2. 0: off."""

    soft_prompt: int = 0
    """Prompt tuning: train the head, and this many vectors before each text, in the places of
    tokens. 20 is usual, with a learning rate of 1e-2 to 1e-1. 0: off."""

    bitfit: bool = False
    """BitFit: train only the head and the biases, with a learning rate of 5e-4 to 2e-3."""

    unfreeze: float = 0.0
    """Gradual unfreezing: train the head alone at first, and one more layer, from the top down,
    after each such share of the run. 0.05 is usual for 12 layers. 0: off."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            lora=at_least(0),
            adalora=at_least(0),
            lora_alpha=above(0),
            lora_dropout=between(0, 1, open_="]"),
            adapters=at_least(0),
            prefix=at_least(0),
            soft_prompt=at_least(0),
            unfreeze=between(0, 1, open_="]"),
        )
        if len(chosen := self.chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} each choose what is trained: choose one")
        if self.dora and not self.lora:
            raise UserError("dora adds to lora: give the rank, such as lora 8")
        if self.adapters_twice and not self.adapters:
            raise UserError("adapters_twice adds to adapters: give their size, such as adapters 64")
        if (self.lora or self.adalora) and not self.lora_targets:
            raise UserError("lora_targets are empty: name a layer, such as query")
        if not (self.lora or self.adalora):
            refuse_unused(self, ("lora_alpha", "lora_dropout", "lora_targets"), "lora or adalora")
        for target in self.lora_targets:
            if target not in LAYERS:
                raise UserError(
                    f"lora_targets: there is no layer {target!r}{did_you_mean(target, LAYERS)}; "
                    f"choose {', '.join(LAYERS)}"
                )

    @property
    def chosen(self) -> list[str]:
        """Return the names of the chosen methods."""
        return [name for name in METHODS if getattr(self, name)]

    @property
    def is_on(self) -> bool:
        """Tell whether a method that adds parameters is chosen."""
        return any(name not in ("bitfit", "unfreeze") for name in self.chosen)

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        for name in self.chosen if config.from_scratch else ():
            raise UserError(f"{name} keeps pretrained weights: it does not go with from_scratch")

    def apply(self, model: PretrainedModel) -> None:
        """Freeze what the chosen method does not train in `model`, and add its parameters.

        Raises `UserError` where the model has no such layer.
        """
        if self.chosen and not len(model.base.blocks):
            raise UserError(
                f"{self.chosen[0]} changes the layers of an encoder: a static model has none"
            )
        if self.lora:
            (add_dora if self.dora else add_lora)(
                model, self.lora, self.lora_alpha, self.lora_targets, self.lora_dropout
            )
        if self.adalora:
            add_adalora(model, self.adalora, self.lora_alpha, self.lora_targets, self.lora_dropout)
        if self.ia3:
            add_ia3(model)
        if self.adapters:
            add_adapters(model, self.adapters, self.adapters_twice)
        if self.prefix:
            add_prefix(model, self.prefix)
        if self.soft_prompt:
            add_soft_prompt(model, self.soft_prompt)
        if self.bitfit:
            train_biases(model)

    def before_step(self, steps: int) -> Callable[[PretrainedModel, int], None] | None:
        """Return the hook of the chosen method into each of the `steps`, if it has one."""
        return unfreeze_gradually(self.unfreeze, steps) if self.unfreeze else None

    def ranks(self, model: PretrainedModel, steps: int) -> RankAllocator | None:
        """Return what allocates the ranks of the chosen method in `steps`, if it has any."""
        return RankAllocator(model, self.adalora, steps) if self.adalora else None
