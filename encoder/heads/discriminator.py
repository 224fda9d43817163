"""Is this the token that stood here, or was it replaced? logit = w · gelu(W x + b) + c.

The discriminator of ELECTRA (Clark et al. 2020, arXiv:2003.10555): p(replaced) = σ(logit).
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import DenseHead, HeadedModel
from plainformer.encoder.init import initialise
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import ACTIVATIONS, Backend
from plainformer.encoder.packing import Sequences


class Discriminator(HeadedModel):
    """A score for each token, above 0 where it holds the token for a replaced one."""

    def __init__(self, config: EncoderConfig, backend: Backend = "fused") -> None:
        super().__init__()
        if config.classifier_head not in ACTIVATIONS:
            raise UserError("a discriminator needs a classifier_head that is dense, as ELECTRA's")
        self.config = config
        self.backend = backend
        self.encoder = Encoder(config, pooler=False)
        self.head = DenseHead(config)
        self.classifier = Linear(config.hidden_size, 1)
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
    ) -> Float[Tensor, "*tokens"]:
        """One logit for each token; zero where there is padding."""
        encoded, _, packing = self.encode(input_ids, attention_mask, token_type_ids, sequences)
        logits: Tensor = self.classifier(self.head(encoded.last_hidden_state)).squeeze(-1)
        return logits if packing is None else packing.unpack(logits)
