"""Where does the answer begin, and where does it end? Two scores for each token of the text.

p(begin = i) = softmax(start)ᵢ and p(end = j) = softmax(end)ⱼ, over the tokens of one text
(Devlin et al. 2018, arXiv:1810.04805, §4.2).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import HeadedModel, token_head
from plainformer.encoder.init import initialise
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import Backend
from plainformer.encoder.packing import Sequences


class QuestionAnswerer(HeadedModel):
    """The logits of the first and of the last token of an answer that stands in the text.

    `dropout`: another share than the config's, for the vectors between the layers.
    """

    def __init__(
        self, config: EncoderConfig, dropout: float | None = None, backend: Backend = "fused"
    ) -> None:
        super().__init__()
        config = config if dropout is None else config.with_dropout(dropout)
        self.config = config
        self.backend = backend
        self.encoder = Encoder(config, pooler=False)
        self.head = token_head(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = Linear(config.hidden_size, 2)
        initialise(self, config)

    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None = None,
        token_type_ids: Int[Tensor, "*tokens"] | None = None,
        sequences: Sequences | None = None,
    ) -> tuple[Float[Tensor, "*tokens"], Float[Tensor, "*tokens"]]:
        """Start and end logits of each token.

        Padding has the lowest number there is, so that a softmax over a text gives it nothing.
        """
        encoded, _, packing = self.encode(input_ids, attention_mask, token_type_ids, sequences)
        logits = self.classifier(self.dropout(self.head(encoded.last_hidden_state)))
        if packing is not None:
            real = packing.unpack(torch.ones_like(logits, dtype=torch.bool))
            logits = packing.unpack(logits).masked_fill(~real, torch.finfo(logits.dtype).min)
        start, end = logits.unbind(-1)
        return start, end
