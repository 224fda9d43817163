"""Which token stands here, and do the two segments belong together, in this order?

    logits = E · head(x) + b        pair logits = W pooler(x) + c

What BERT was pretrained with for the next sentence (Devlin et al. 2018, arXiv:1810.04805), ALBERT
for the order of sentences (Lan et al. 2019, arXiv:1909.11942). Class 0: the second segment follows
the first; class 1: it does not, or the two were swapped.
"""

from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.masked_lm import Places, VocabularyModel
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend


class PairedMaskedLM(VocabularyModel):
    """A score for each token at each place, and two for each pair of segments."""

    class_name = "PairedMaskedLM"
    has_pooler = True

    def __init__(self, encoder: Encoder | EncoderConfig, backend: Backend | None = None) -> None:
        super().__init__(encoder, backend=backend)
        self.classifier = Linear(self.config.hidden_size, 2)
        self.initialise()

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs, at: Places | None = None
    ) -> tuple[Float[Tensor, "*places vocab"], Float[Tensor, "batch 2"]]:
        """Compute the logits over the vocabulary as `MaskedLM` does, and those of each pair."""
        pair_logits = inputs.unpack_rows(self.classifier(encoded.pooler_output))
        return self.token_logits(encoded, inputs, at), pair_logits
