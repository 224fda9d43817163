"""Build the parts of an encoder as its config describes them."""

from torch import nn

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.block import Block
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.embeddings import Embeddings
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.linear import Linear
from plainformer.encoder.norm import LayerNorm, RMSNorm
from plainformer.encoder.positions import (
    AlibiBias,
    LearnedPositions,
    PositionTable,
    RelativeBias,
    SinusoidalPositions,
)


def build_embeddings(config: EncoderConfig) -> Embeddings:
    """Build the embeddings of tokens, positions and segments."""
    size, segments = config.token_size, config.type_vocab_size
    return Embeddings(
        nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id),
        build_positions(config),
        nn.Embedding(segments, size) if segments else None,
        norm=build_norm(config, size),
        projection=Linear(size, config.hidden_size) if config.embedding_size else None,
        dropout=config.embedding_dropout,
    )


def build_positions(config: EncoderConfig) -> PositionTable | None:
    """Build the table of positions, where positions are added to the embeddings."""
    table = config.max_position_embeddings, config.token_size, config.position_offset
    if config.positions == "learned":
        return LearnedPositions(*table)
    return SinusoidalPositions(*table) if config.positions == "sinusoidal" else None


def build_distance_bias(config: EncoderConfig) -> AlibiBias | RelativeBias | None:
    """Build the bias by distance, where one is added to attention scores."""
    if config.positions == "alibi":
        return AlibiBias(config.num_attention_heads)
    return RelativeBias(config.num_attention_heads) if config.relative_bias else None


def build_block(config: EncoderConfig, layer: int) -> Block:
    """Build block number `layer`, from 0."""
    hidden = config.hidden_size
    attention = MultiHeadAttention(
        hidden,
        config.num_attention_heads,
        attention_size=config.heads_size,
        dropout=config.attention_dropout,
        bias=config.bias,
    )
    kind = GatedFeedForward if config.gated else FeedForward
    feed_forward = kind(
        hidden, config.intermediate_size, activation=config.hidden_act, bias=config.bias
    )
    # The embeddings are normalised already: the first block needs no pre-norm.
    is_normed = config.norm_order == "pre" and layer == 0
    return Block(
        attention,
        feed_forward,
        nn.Identity() if is_normed else build_norm(config, hidden),
        build_norm(config, hidden),
        norm_order=config.norm_order,
        dropout=config.hidden_dropout,
    )


def build_blocks(config: EncoderConfig) -> tuple[nn.ModuleList, nn.Module]:
    """Build all blocks, and the norm after the last, where blocks normalise their inputs alone.

    Layers that share parameters are one block, listed once.
    """
    count = 1 if config.share_layers else config.num_hidden_layers
    blocks = nn.ModuleList(build_block(config, layer) for layer in range(count))
    is_pre_norm = config.norm_order == "pre"
    return blocks, build_norm(config, config.hidden_size) if is_pre_norm else nn.Identity()


def build_norm(config: EncoderConfig, size: int) -> LayerNorm | RMSNorm:
    """Build a norm for vectors of this `size`."""
    if config.norm == "rms_norm":
        return RMSNorm(size, config.norm_eps)
    return LayerNorm(size, config.norm_eps, bias=config.norm_bias)
