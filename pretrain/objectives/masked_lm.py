"""Masked language modelling: loss = −log p(token | the masked text), summed over the targets.

Devlin et al. 2018, arXiv:1810.04805. The loss does not depend on how targets are chosen: causal
language modelling and denoising have the same one, on other batches.
"""

from typing import TYPE_CHECKING

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.encoder.flops import masked_lm_flops
from plainformer.pretrain.batch import Corruption, MaskedBatch
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives.base import MASKING_OPTIONS, PretrainingObjective, is_given
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.pretrain.objectives.distillation import Distillation, load_teacher
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, Objective

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig


def masked_lm(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """Sum the losses of the targets, and count those predicted correctly ("accuracy").

    Logits are computed at the target positions only.
    """
    logits = model(
        batch.input_ids, sequences=batch.sequences, target_positions=batch.target_positions
    )
    return cross_entropy_loss(logits, batch.labels)


class MaskedLMObjective(PretrainingObjective[MaskedLM]):
    """Predict masked tokens; with a teacher, also its predictions (`Distillation`)."""

    name = "mlm"
    model_class = MaskedLM
    options = MASKING_OPTIONS | {"teacher", "temperature", "soft_share"}
    unit = "masked token"
    extends_vocabulary = True

    def check(self, config: "PretrainConfig") -> None:
        """Raise `UserError` for options of distillation without a teacher."""
        for option in ("temperature", "soft_share"):
            if config.teacher is None and is_given(config, option):
                raise UserError(f"{option} is for distillation: give the folder of a teacher")

    def corrupt(self, masking: Masking) -> Corruption:
        """Mask tokens and predict them."""
        return masking

    def loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[MaskedLM, MaskedBatch]:
        """Return the loss of the masked tokens, or of these and the teacher's predictions."""
        if config.teacher is None:
            return masked_lm
        teacher = load_teacher(config.teacher, tokenizer, config.max_length)
        return Distillation(teacher, config.temperature, config.soft_share)

    def held_out_loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[MaskedLM, MaskedBatch]:
        """Return the loss of the masked tokens alone."""
        return masked_lm

    def flops(
        self, model: MaskedLM, loss: Objective[MaskedLM, MaskedBatch], batch: MaskedBatch
    ) -> int:
        """Count three forward passes, and one of the teacher."""
        flops = 3 * masked_lm_flops(model.config, batch.sequences, len(batch.labels))
        if isinstance(loss, Distillation):
            flops += masked_lm_flops(loss.teacher.config, batch.sequences, len(batch.labels))
        return flops

    def loss_label(self, config: "PretrainConfig") -> str:
        """Return the label of the loss axis in a run's plot."""
        if config.teacher is None:
            return super().loss_label(config)
        return f"loss: {config.soft_share:g} of the teacher's, the rest of the tokens"
