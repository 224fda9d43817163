"""Causal language modelling: loss = −log p(token i + 1 | tokens 1 … i), at all i but the last.

It differs from masked language modelling by the attention mask and the targets only: no token is
hidden, each sees those before it and predicts the next one (Radford et al. 2018, "Improving
Language Understanding by Generative Pre-Training"). The end of a text is one of the targets.
"""

from typing import TYPE_CHECKING

import numpy as np

from plainformer.encoder import MaskedLM
from plainformer.encoder.flops import masked_lm_flops
from plainformer.pretrain.batch import Corruption, MaskedBatch, PackedText
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives.base import PretrainingObjective
from plainformer.pretrain.objectives.masked_lm import masked_lm
from plainformer.tokenizer import Tokenizer
from plainformer.training import Objective

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig


def next_tokens(text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
    """Keep the text, in causal sequences; the target at each position is the next token."""
    ends = np.cumsum(text.lengths) - 1
    positions = np.delete(np.arange(len(text.ids)), ends)
    return text.with_targets(positions, text.ids[positions + 1], causal=True)


class CausalLMObjective(PretrainingObjective[MaskedLM]):
    """Predict the next token."""

    name = "clm"
    model_class = MaskedLM
    extends_vocabulary = True

    def corrupt(self, masking: Masking) -> Corruption:
        """Mask no token: predict each from those before it."""
        return next_tokens

    def loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[MaskedLM, MaskedBatch]:
        """Return the loss of the next tokens."""
        return masked_lm

    def flops(
        self, model: MaskedLM, loss: Objective[MaskedLM, MaskedBatch], batch: MaskedBatch
    ) -> int:
        """Count three forward passes."""
        return 3 * masked_lm_flops(model.config, batch.sequences, len(batch.labels))
