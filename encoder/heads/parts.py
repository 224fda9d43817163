"""The pieces of which the heads are made."""

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plainformer.encoder import ops
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput, enter
from plainformer.encoder.norm import make_norm
from plainformer.encoder.packing import Packing, Sequences
from plainformer.encoder.pretrained import PretrainedModel

Pooling = Literal["cls", "mean"]


class HeadedModel(PretrainedModel):
    """An encoder with something on it."""

    encoder: Encoder

    @property
    def base(self) -> Encoder:
        """Return the encoder under the head."""
        return self.encoder

    @property
    def blocks(self) -> nn.ModuleList:
        """Return the blocks of the encoder."""
        return self.encoder.blocks

    def encode(
        self,
        input_ids: Int[Tensor, "batch seq"] | Int[Tensor, " tokens"],
        attention_mask: Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"] | None,
        token_type_ids: Int[Tensor, "*tokens"] | None,
        sequences: Sequences | None,
    ) -> tuple[EncoderOutput, Sequences, Packing | None]:
        """What the encoder says, packed; and, where the batch came padded, the way back."""
        packing = None
        if sequences is None:
            packing, input_ids, token_type_ids = enter(input_ids, attention_mask, token_type_ids)
            sequences = packing.sequences
        return self.encoder(input_ids, None, token_type_ids, sequences), sequences, packing


class DenseHead(nn.Module):
    """act(W x + b), with the activation that `config.classifier_head` names."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS[config.classifier_head]
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Shape: as it came."""
        return self.act(self.dense(x))


class PredictionHead(nn.Module):
    """norm(act(W x)): the step between the encoder's vectors and those of the tokens."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        bias = config.architecture != "modern"
        self.act = ops.ACTIVATIONS[config.hidden_act]
        self.dense = Linear(config.hidden_size, config.token_size, bias=bias)
        self.norm = make_norm(config, config.token_size)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch size"]:
        """From the encoder's vectors to the size of the embeddings."""
        y: Tensor = self.norm(self.act(self.dense(x)))
        return y


def token_head(config: EncoderConfig) -> nn.Module:
    """What stands before the decision on a single token: ModernBERT's prediction head, or nothing.

    In training a dropout follows, in every family.
    """
    return PredictionHead(config) if config.classifier_head == "prediction" else nn.Identity()


def pool(
    x: Float[Tensor, "tokens hidden"], sequences: Sequences, pooling: Pooling
) -> Float[Tensor, "sequences hidden"]:
    """One vector for each sequence: its first token's, or the mean of all."""
    if pooling == "cls":
        return x[sequences.cu_seqlens[:-1]]
    sums = x.new_zeros(len(sequences.lengths), x.shape[-1]).index_add(0, sequences.rows, x)
    return sums / sequences.cu_seqlens.diff()[:, None]
