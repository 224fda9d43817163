"""Score pairs of a text and an option, for multiple choice.

p(option = i) = softmax(s)ᵢ over the options of one text
(Devlin et al. 2018, arXiv:1810.04805, §4.4).

The vector of a pair is that of a sequence classifier (`encoder.heads.sequence`), but RoBERTa and
MPNet use the encoder's pooler, ELECTRA a summary layer, without dropout before either.
"""

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import Pooling
from plainformer.encoder.heads.sequence import TextModel
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import Backend


class ChoiceScorer(TextModel):
    """An encoder with one score, `(batch, 1)`, for each pair of a text and an option."""

    class_name = "ChoiceScorer"
    saved_settings = ("pooling",)
    dropout_before_dense = False

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        pooling: Pooling = "cls",
        dropout: float | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__(encoder, 1, pooling, dropout, backend)
