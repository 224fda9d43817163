"""Find an answer in a text, by two scores for each token: of the answer's start and of its end.

p(begin = i) = softmax(start)ᵢ and p(end = j) = softmax(end)ⱼ, over the tokens of one text
(Devlin et al. 2018, arXiv:1810.04805, §4.2).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import head_size, token_head
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.ops import Backend


class QuestionAnswerer(HeadedModel):
    """An encoder with start and end logits of an answer for each token."""

    class_name = "QuestionAnswerer"

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        dropout: float | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(encoder, dropout, backend)
        self.head = token_head(self.config)
        self.dropout = nn.Dropout(self.config.classifier_dropout)
        self.classifier = Linear(head_size(self.config), 2)
        self.initialise()

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs
    ) -> tuple[Float[Tensor, "*tokens"], Float[Tensor, "*tokens"]]:
        """Compute the start and end logits of each token.

        Padding gets the lowest number there is, so that a softmax over a text gives it nothing.
        """
        x = self.head(encoded.last_hidden_state)
        logits = self.classifier(self.dropout(x))
        logits = inputs.unpack(logits, padding=torch.finfo(logits.dtype).min)
        start, end = logits.unbind(-1)
        return start, end
