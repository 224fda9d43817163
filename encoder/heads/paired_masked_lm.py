"""Predict masked tokens, and whether the second segment follows the first.

    logits = E · head(x) + b        pair logits = W pooler(x) + c

BERT was pretrained so on the next sentence (Devlin et al. 2018, arXiv:1810.04805), ALBERT on the
order of sentences (Lan et al. 2019, arXiv:1909.11942). Class 0: the second segment follows the
first; class 1: it does not, or the two were swapped.
"""

from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.masked_lm import TargetPositions, VocabularyModel
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
        self.classifier = Linear(self.config.hidden_size, 2)
        self.initialise()

    def apply_head(
        self,
        encoded: EncoderOutput,
        inputs: PackedInputs,
        target_positions: TargetPositions | None = None,
    ) -> tuple[Float[Tensor, "*targets vocab"], Float[Tensor, "batch 2"]]:
        """Compute the logits over the vocabulary as `MaskedLM` does, and those of each pair."""
        pair_logits = inputs.unpack_rows(self.classifier(encoded.pooler_output))
        return self.token_logits(encoded, inputs, target_positions), pair_logits
