"""Look up the vector of each token in a table, in place of an encoder.

    xᵢ = E[tᵢ]

A token's vector depends on no other token: a sentence takes microseconds. `deploy.static` distils
such a table from an encoder; `SentenceEncoder` pools its rows.

    model = SentenceEncoder(StaticEncoder(table), SentenceLayout(is_static=True))
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.embeddings import Embeddings
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.pretrained import PretrainedModel

LONGEST = 2**20
"""Tokens of the longest text."""


class StaticEncoder(Encoder):
    """A table of token vectors with the interface of an encoder, without blocks.

    Of its config only `vocab_size`, `hidden_size` and `max_position_embeddings` have a meaning.
    """

    def __init__(self, table: Float[Tensor, "tokens size"]) -> None:
        PretrainedModel.__init__(self)  # no part of an Encoder is built
        self.config = static_config(*table.shape)
        tokens = nn.Embedding(len(table), table.shape[1], device="meta")
        tokens.weight = nn.Parameter(table)
        self.embeddings = Embeddings(tokens)
        self.blocks = nn.ModuleList()
        self.pooler = self.soft_prompt = self.distance_bias = None

    def run_blocks(
        self,
        x: Float[Tensor, "*tokens hidden"],
        sequences: Sequences | PaddedSequences,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read: Int[Tensor, " read"] | None = None,
    ) -> EncoderOutput:
        """Return the rows of the table as they are: there are no blocks."""
        states = (x,) if output_hidden_states else None
        return EncoderOutput(x, None, states, () if output_attentions else None)

    def flops_per_token(self, seq_len: int) -> float:
        """Return 0: a row is looked up, and not computed."""
        return 0.0


def static_config(vocab_size: int, size: int) -> EncoderConfig:
    """Return a config with the sizes of a table."""
    return EncoderConfig(
        vocab_size=vocab_size,
        hidden_size=size,
        num_attention_heads=1,
        max_position_embeddings=LONGEST,
        type_vocab_size=0,
        positions="alibi",  # no table of positions
    ).with_dropout(0.0)
