"""Each part of the encoder, built from its sizes alone, against torch's own module."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import (
    AlibiBias,
    AttentionMask,
    Block,
    Embeddings,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    LearnedPositions,
    MultiHeadAttention,
    PaddedSequences,
    RelativeBias,
    RMSNorm,
    Sequences,
    SinusoidalPositions,
    rotary_angles,
    use_backend,
)
from plainformer.encoder.config import Activation, NormOrder
from tests.encoder.tools import assert_relative, draw, randomise

HIDDEN, HEADS, WIDE = 24, 3, 40
LENGTHS = [2, 5, 7]
IS_TOKEN = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
BACKENDS = pytest.mark.parametrize("backend", ["plain", "fused"])


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    names = {
        "qkv.weight": "in_proj_weight",
        "qkv.bias": "in_proj_bias",
        "output.weight": "out_proj.weight",
        "output.bias": "out_proj.bias",
    }
    state = theirs.state_dict()
    ours.load_state_dict({own: state[name] for own, name in names.items() if name in state})


def random_batch() -> tuple[Tensor, Tensor]:
    """The same sequences packed, and padded with noise."""
    x = draw(3, 7, HIDDEN)
    return x[IS_TOKEN], x


@BACKENDS
@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_torchs(backend: Any, bias: bool) -> None:
    theirs = randomise(nn.MultiheadAttention(HIDDEN, HEADS, bias=bias, batch_first=True).double())
    ours = MultiHeadAttention(HIDDEN, HEADS, bias=bias).double()
    copy_attention(ours, theirs)
    packed, x = random_batch()
    expected, shares = theirs(x, x, x, ~IS_TOKEN, average_attn_weights=False)
    with use_backend(backend):
        y, nothing = ours(packed, AttentionMask(Sequences.of(LENGTHS)))
        padded, _ = ours(x, AttentionMask(PaddedSequences(IS_TOKEN)))
        _, weights = ours(packed, AttentionMask(Sequences.of(LENGTHS)), output_attentions=True)
    assert nothing is None
    assert_relative(y, expected[IS_TOKEN], 1e-13)
    assert_relative(padded[IS_TOKEN], expected[IS_TOKEN], 1e-13)
    assert_relative(weights, shares * IS_TOKEN[:, None, :, None], 1e-13)


def test_attention_drops_weights_while_training_alone() -> None:
    attention = MultiHeadAttention(HIDDEN, HEADS, dropout=0.5).double()
    x, mask = draw(5, HIDDEN), AttentionMask(Sequences.of([5]))
    assert not attention(x, mask)[0].equal(attention(x, mask)[0])
    attention.eval()
    assert attention(x, mask)[0].equal(attention(x, mask)[0])


def test_heads_share_the_width() -> None:
    with pytest.raises(UserError, match="hidden_size 24 is not divisible by num_heads 5"):
        MultiHeadAttention(24, 5)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("order", ["post", "pre"])
@BACKENDS
def test_a_block_is_torchs_layer(backend: Any, order: NormOrder, activation: Activation) -> None:
    theirs = nn.TransformerEncoderLayer(
        HIDDEN, HEADS, WIDE, 0.0, activation, batch_first=True, norm_first=order == "pre"
    ).double()
    randomise(theirs).train()  # in eval() it runs another kernel
    ours = Block(
        MultiHeadAttention(HIDDEN, HEADS),
        FeedForward(HIDDEN, WIDE, activation=activation),
        LayerNorm(HIDDEN),
        LayerNorm(HIDDEN),
        norm_order=order,
    ).double()
    copy_attention(ours.attention, theirs.self_attn)
    pairs = [
        (ours.feed_forward.up, theirs.linear1),
        (ours.feed_forward.down, theirs.linear2),
        (ours.attention_norm, theirs.norm1),
        (ours.feed_forward_norm, theirs.norm2),
    ]
    for own, their in pairs:
        own.load_state_dict(their.state_dict())
    packed, x = random_batch()
    expected = theirs(x, src_key_padding_mask=~IS_TOKEN)[IS_TOKEN]
    with use_backend(backend):
        assert_relative(ours(packed, AttentionMask(Sequences.of(LENGTHS)))[0], expected, 1e-12)
        padded, _ = ours(x, AttentionMask(PaddedSequences(IS_TOKEN)))
    assert_relative(padded[IS_TOKEN], expected, 1e-12)


def test_a_block_without_norms_adds_twice() -> None:
    attention, feed_forward = MultiHeadAttention(HIDDEN, HEADS), FeedForward(HIDDEN, WIDE)
    block = Block(attention, feed_forward, nn.Identity(), nn.Identity(), norm_order="pre")
    x, mask = draw(5, HIDDEN, dtype=torch.float32), AttentionMask(Sequences.of([5]))
    y = x + attention(x, mask)[0]
    assert_relative(block(x, mask)[0], y + feed_forward(y), 1e-6)


def test_a_block_drops_what_it_adds() -> None:
    parts = MultiHeadAttention(HIDDEN, HEADS), FeedForward(HIDDEN, WIDE)
    block = Block(*parts, nn.Identity(), nn.Identity(), norm_order="pre", dropout=0.5)
    x, mask = draw(5, HIDDEN, dtype=torch.float32), AttentionMask(Sequences.of([5]))
    is_kept = block(x, mask)[0] == x
    assert 0.1 < is_kept.float().mean() < 0.5  # dropped twice: a quarter
    block.eval()
    assert not (block(x, mask)[0] == x).any()


def test_the_gated_layer_is_three_layers() -> None:
    ours = GatedFeedForward(HIDDEN, WIDE, activation="relu").double()
    gate, up = (nn.Linear(HIDDEN, WIDE).double() for _ in range(2))
    ours.up.weight.data = torch.cat([gate.weight, up.weight])
    ours.up.bias.data = torch.cat([gate.bias, up.bias])
    x = draw(5, HIDDEN)
    assert_relative(ours(x), ours.down(gate(x).relu() * up(x)), 1e-13)
    assert GatedFeedForward(HIDDEN, WIDE, bias=False).up.bias is None


@BACKENDS
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)),
        (LayerNorm(HIDDEN, 1e-3, bias=False), nn.LayerNorm(HIDDEN, 1e-3, bias=False)),
        (RMSNorm(HIDDEN), nn.RMSNorm(HIDDEN, 1e-5)),
    ],
)
def test_a_norm_is_torchs(backend: Any, ours: nn.Module, theirs: nn.Module) -> None:
    x = draw(2, 5, HIDDEN, dtype=torch.float32) / 30  # small: eps matters
    ours.load_state_dict(randomise(theirs).state_dict())
    with use_backend(backend):
        assert_relative(ours(x), theirs(x), 1e-5)


def test_embeddings_are_the_norm_of_a_sum() -> None:
    tokens, segments, positions = nn.Embedding(50, 8), nn.Embedding(2, 8), LearnedPositions(9, 8)
    assert not positions.weight.any(), "defined before anything is drawn or trained"
    randomise(positions)
    norm, sequences = LayerNorm(8), Sequences.of([2, 4])
    ids, types, places = torch.arange(6), torch.ones(6).long(), [0, 1, 0, 1, 2, 3]
    assert Embeddings(tokens)(ids, None, sequences).equal(tokens.weight[:6])
    y = Embeddings(tokens, positions, segments, norm=norm)(ids, types, sequences)
    expected = norm(tokens.weight[:6] + segments.weight[1] + positions.weight[places])
    assert_relative(y, expected, 1e-6)


def test_positions_from_plain_sizes() -> None:
    assert SinusoidalPositions(10, 8)(torch.tensor([3])).shape == (1, 8)
    assert not RelativeBias(HEADS)(6).any(), "defined before anything is drawn or trained"
    packed, _ = random_batch()
    attention = MultiHeadAttention(HIDDEN, HEADS).double()
    sequences = Sequences.of(LENGTHS)
    plain, _ = attention(packed, AttentionMask(sequences))
    biased, _ = attention(packed, AttentionMask(sequences, bias=AlibiBias(HEADS)(7).double()))
    turned, _ = attention(packed, AttentionMask(sequences), rotary_angles(sequences.positions, 8))
    for other in (biased, turned):
        assert (other - plain).abs().max() > 1e-3
