"""Which token stands here, and do the two segments belong together, in this order?

    logits = E · head(x) + b        pair logits = W pooler(x) + c

What BERT was pretrained with for the next sentence (Devlin et al. 2018, arXiv:1810.04805), ALBERT
for the order of sentences (Lan et al. 2019, arXiv:1909.11942). Class 0: the second segment follows
the first; class 1: it does not, or the two were swapped.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.masked_lm import Places, VocabularyModel
from plainformer.encoder.init import initialise
from plainformer.encoder.linear import Linear
from plainformer.encoder.ops import Backend
from plainformer.encoder.packing import Sequences


class PairedMaskedLM(VocabularyModel):
    """A score for each token at each place, and two for each pair of segments."""

    def __init__(self, config: EncoderConfig, backend: Backend = "fused") -> None:
        super().__init__(config, backend, pooler=True)
        self.classifier = Linear(config.hidden_size, 2)
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
        at: Places | None = None,
    ) -> tuple[Float[Tensor, "*places vocab"], Float[Tensor, "batch 2"]]:
        """Logits over the vocabulary as `MaskedLM` gives them, and logits of each pair."""
        encoded, _, packing = self.encode(input_ids, attention_mask, token_type_ids, sequences)
        pairs = self.classifier(encoded.pooler_output)
        pairs = pairs if packing is None else packing.unpack_rows(pairs)
        return self.scores(encoded.last_hidden_state, packing, at), pairs
