"""Define the layers that several heads share."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import ops
from plainformer.encoder.build import build_norm
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.weights import FAMILIES
from plainformer.encoder.weights.save import family_of_config

Pooling = Literal["cls", "mean"]
Select = Callable[[Tensor], Tensor]
"""A function that selects entries from a tensor with one entry for each token."""


class DenseHead(nn.Module):
    """act(W x + b), with the activation that `config.classifier_head` names."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS[config.classifier_head]
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Apply the layer to each vector."""
        return self.act(self.dense(x))


class PredictionHead(nn.Module):
    """norm(act(W x + b)): from vectors of the encoder to vectors of the token table."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.act = ops.ACTIVATIONS[config.hidden_act]
        self.dense = Linear(config.hidden_size, config.token_size, bias=config.head_bias)
        self.norm = build_norm(config, config.token_size)

    def forward(self, x: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch size"]:
        """Transform each vector."""
        y: Tensor = self.norm(self.act(self.dense(x)))
        return y


def check_family(config: EncoderConfig, class_name: str) -> None:
    """Raise `UserError` for a head that the family of `config` has not: no folder could hold it."""
    family = family_of_config(config)
    if class_name not in family.heads:
        fit = ", ".join(kind for kind, other in FAMILIES.items() if class_name in other.heads)
        raise UserError(f"a model of type {family.model_type} has no {class_name}: take {fit}")


def head_size(config: EncoderConfig) -> int:
    """Return the size of the vectors that a classifier reads: ModernBERT's come from a head."""
    return config.token_size if config.classifier_head == "prediction" else config.hidden_size


def token_head(config: EncoderConfig) -> nn.Module:
    """Build the layer before a token's classifier: ModernBERT's prediction head, or none."""
    return PredictionHead(config) if config.classifier_head == "prediction" else nn.Identity()


def take(
    encoded: EncoderOutput, inputs: PackedInputs, select: Select
) -> Float[Tensor, "*selected hidden"]:
    """Return the vectors of the tokens that `select` selects, where the encoder computed them."""
    x, read = encoded.last_hidden_state, encoded.read
    if read is None:
        return select(x)
    rows = torch.full_like(inputs.sequences.positions, -1)  # of x, for each token
    rows[read] = torch.arange(read.shape[0], device=read.device)
    return x.index_select(0, select(rows))


def pooler_output(
    encoder: Encoder, encoded: EncoderOutput, inputs: PackedInputs
) -> Float[Tensor, "sequences hidden"]:
    """Return the output of the encoder's pooler, which is run here where few tokens are read."""
    if encoded.pooler_output is not None:
        return encoded.pooler_output
    assert encoder.pooler is not None
    pooled: Tensor = encoder.pooler(take(encoded, inputs, inputs.sequences.first))
    return pooled


def pool(
    x: Float[Tensor, "*tokens hidden"], sequences: Sequences | PaddedSequences, pooling: Pooling
) -> Float[Tensor, "sequences hidden"]:
    """Compute one vector for each sequence: its first token's, or the mean of all."""
    if pooling == "cls":
        return sequences.first(x)
    # A sum of many tokens needs more digits than half precision has.
    sums = sequences.sum(x.to(torch.promote_types(x.dtype, torch.float32)))
    return (sums / sequences.counts[:, None]).to(x.dtype)
