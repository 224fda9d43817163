"""Detect replaced tokens: logit = w · gelu(W x + b) + c.

The discriminator of ELECTRA (Clark et al. 2020, arXiv:2003.10555): p(replaced) = σ(logit).
"""

from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import DenseHead, check_family
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import ACTIVATIONS, Backend


class Discriminator(HeadedModel):
    """An encoder with one logit for each token: above 0, it was replaced."""

    class_name = "Discriminator"

    def __init__(self, encoder: Encoder | EncoderConfig, backend: Backend | None = None) -> None:
        super().__init__(encoder, backend=backend)
        if self.config.classifier_head not in ACTIVATIONS:
            raise UserError("a discriminator needs a dense classifier_head: gelu, as in ELECTRA")
        check_family(self.config, self.class_name)
        self.head = DenseHead(self.config)
        self.classifier = Linear(self.config.hidden_size, 1)
        self.initialise()

    def apply_head(self, encoded: EncoderOutput, inputs: PackedInputs) -> Float[Tensor, "*tokens"]:
        """Compute one logit for each token; zero where there is padding."""
        logits: Tensor = self.classifier(self.head(encoded.last_hidden_state))
        return inputs.unpack(logits.squeeze(-1))
