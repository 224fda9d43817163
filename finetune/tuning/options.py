"""The options of tuning few parameters: each method by its size, and 0 leaves it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plainformer.base import UserError, above, at_least, between, check_bounds, did_you_mean
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.dora import add_dora
from plainformer.finetune.tuning.layers import ALL
from plainformer.finetune.tuning.lora import TARGETS, add_lora

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


LAYERS = ("query", "key", "value", "output", "gate", "up", "down", ALL)
"""The names of the layers of all models, and of the parts of fused ones."""


@dataclass(frozen=True)
class TuningOptions:
    """Train few parameters, added to a frozen encoder, and the head."""

    GROUPS: ClassVar[Mapping[str, str]] = {"lora": "parameter-efficient fine-tuning"}
    """First option of each group -> the heading of the group in the help."""

    lora: int = 0
    """LoRA: freeze the encoder, and train the head and low-rank matrices of this rank, added to the
    frozen ones. 8 is usual, with a learning rate of 5e-4 to 2e-3. 0: off."""

    lora_alpha: float = 16.0
    """Scaling of LoRA: the product of its matrices is multiplied by alpha / rank."""

    lora_dropout: float = 0.0
    """Dropout rate of the input of LoRA's matrices."""

    lora_targets: tuple[str, ...] = TARGETS
    """Linear layers that LoRA changes: query, key, value, output (of attention), gate (of modern
    encoders), up, down (of the feed-forward layer); or all."""

    dora: bool = False
    """DoRA: train the norm of each row of the changed layers, too."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            lora=at_least(0),
            lora_alpha=above(0),
            lora_dropout=between(0, 1, open_="]"),
        )
        if self.dora and not self.lora:
            raise UserError("dora adds to lora: give the rank, such as lora 8")
        if self.lora and not self.lora_targets:
            raise UserError("lora_targets are empty: name a layer, such as query")
        for target in self.lora_targets:
            if target not in LAYERS:
                raise UserError(
                    f"lora_targets: there is no layer {target!r}{did_you_mean(target, LAYERS)}; "
                    f"choose {', '.join(LAYERS)}"
                )

    @property
    def is_on(self) -> bool:
        """Tell whether a method is chosen."""
        return bool(self.lora)

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where these options do not go with those of the run."""
        if self.is_on and config.from_scratch:
            raise UserError("lora keeps the pretrained weights: it does not go with from_scratch")

    def apply(self, model: PretrainedModel) -> None:
        """Freeze `model`, and add the parameters of the chosen method.

        Raises `UserError` where the model has no such layer.
        """
        if self.lora:
            (add_dora if self.dora else add_lora)(
                model, self.lora, self.lora_alpha, self.lora_targets, self.lora_dropout
            )
