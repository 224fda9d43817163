"""Predict masked tokens, and whether the second segment follows the first.

    logits = E · head(x) + b        pair logits = W pooler(x) + c

BERT was pretrained so on the next sentence (Devlin et al. 2018, arXiv:1810.04805), ALBERT on the
order of sentences (Lan et al. 2019, arXiv:1909.11942). Class 0: the second segment follows the
first; class 1: it does not, or the two were swapped.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.masked_lm import TargetPositions, VocabularyModel
from plainformer.encoder.heads.parts import Select, check_family, pooler_output
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend


class PairedMaskedLM(VocabularyModel):
    """An encoder with logits over the vocabulary for each token, and two for each pair."""

    class_name = "PairedMaskedLM"
    has_pooler = True

    def __init__(self, encoder: Encoder | EncoderConfig, backend: Backend | None = None) -> None:
        super().__init__(encoder, backend=backend)
        check_family(self.config, self.class_name)
        self.classifier = Linear(self.config.hidden_size, 2)
        self.initialise()

    def reads(self, inputs: PackedInputs, **options: Any) -> Select | None:
        """Return the function that selects the first token of each text, and the targets."""
        targets, first = super().reads(inputs, **options), inputs.sequences.first
        return None if targets is None else lambda x: torch.cat([first(x), targets(x)])

    def apply_head(
        self,
        encoded: EncoderOutput,
        inputs: PackedInputs,
        target_positions: TargetPositions | None = None,
    ) -> tuple[Float[Tensor, "*targets vocab"], Float[Tensor, "batch 2"]]:
        """Compute the logits over the vocabulary as `MaskedLM` does, and those of each pair."""
        pooled = pooler_output(self.encoder, encoded, inputs)
        pair_logits = inputs.unpack_rows(self.classifier(pooled))
        return self.token_logits(encoded, inputs, target_positions), pair_logits
