"""Positions: the papers' formulas entry by entry, the authors' slopes, and what RoPE promises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.encoder import Encoder, Packing
from plainformer.encoder.ops import plain
from plainformer.encoder.positions import (
    AlibiBias,
    alibi_slopes,
    bucket,
    check_length,
    rotary_angles,
    sinusoids,
)
from tests.encoder.tools import assert_close, bert, modern, padded


def test_sinusoids_entry_by_entry() -> None:
    places, hidden = 50, 12
    table = sinusoids(places, hidden)
    assert table.dtype == torch.float32
    for p in range(places):
        for i in range(hidden // 2):
            angle = p / 10000 ** (2 * i / hidden)
            assert table[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)


def authors_slopes(n: int) -> list[float]:
    """Press et al.: a geometric sequence that starts at its ratio, 2^(−8/n); else two of them."""
    if math.log2(n).is_integer():
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]
    closest = 2 ** math.floor(math.log2(n))
    return authors_slopes(closest) + authors_slopes(2 * closest)[0::2][: n - closest]


def test_alibi_slopes() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    twelve = [2.0**-i for i in range(1, 9)] + [2.0**-i for i in (0.5, 1.5, 2.5, 3.5)]
    assert alibi_slopes(12).tolist() == pytest.approx(twelve)
    for n in range(1, 33):
        assert alibi_slopes(n).tolist() == pytest.approx(authors_slopes(n))


def test_rotation_is_transformers() -> None:
    pytest.importorskip("transformers")
    from transformers import ModernBertConfig
    from transformers.models.modernbert.modeling_modernbert import (
        ModernBertRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    theirs = ModernBertRotaryEmbedding(ModernBertConfig())
    places = torch.arange(3000)
    q, k = torch.randn(2, 1, 2, 3000, 64)
    for kind, base in (("full_attention", 160_000.0), ("sliding_attention", 10_000.0)):
        cos, sin = theirs(q, places[None], kind)
        ours = rotary_angles(places, 64, base)
        for x, expected in zip((q, k), apply_rotary_pos_emb(q, k, cos, sin), strict=True):
            rotated = plain.rotate(x[0].transpose(0, 1), *ours).transpose(0, 1)
            assert_close(rotated, expected[0], 1e-6)


@settings(deadline=None)
@given(
    i=st.integers(0, 400),
    j=st.integers(0, 400),
    shift=st.integers(0, 400),
    base=st.sampled_from([10_000.0, 160_000.0]),
)
def test_rotated_products_know_the_distance_alone(i: int, j: int, shift: int, base: float) -> None:
    q, k = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

    def product(a: int, b: int) -> torch.Tensor:
        turned = plain.rotate(torch.stack([q, k]), *rotary_angles(torch.tensor([a, b]), 16, base))
        return turned[0] @ turned[1]

    assert_close(product(i, j), product(i + shift, j + shift), 2e-4)
    turned = plain.rotate(q[None], *rotary_angles(torch.tensor([i]), 16, base))
    assert_close(turned.norm(), q.norm(), 1e-6)


def test_rotation_tells_distances_apart() -> None:
    q, k = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    turned = plain.rotate(k.expand(50, 16), *rotary_angles(torch.arange(50), 16, 10_000.0))
    assert len(set((turned @ q).tolist())) == 50


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_text_longer_than_the_table(positions: str) -> None:
    model = Encoder(bert(positions=positions))
    with pytest.raises(UserError, match=r"41 tokens.*40 positions"):
        model(**padded([3, 41]))
    model(**padded([3, 40]))
    check_length(40, 40)


def test_only_real_tokens_count_towards_the_length() -> None:
    batch = padded([3, 50])
    batch["attention_mask"][1, 40:] = 0
    assert Encoder(bert())(**batch).last_hidden_state.shape == (2, 50, 32)


def test_rotary_and_alibi_have_no_table() -> None:
    for config in (modern(), bert(positions="alibi")):
        Encoder(config)(**padded([100]) if config.type_vocab_size else padded_without_types([100]))


def padded_without_types(lengths: list[int]) -> dict[str, torch.Tensor]:
    batch = padded(lengths)
    del batch["token_type_ids"]
    return batch


def test_positions_count_real_tokens() -> None:
    packing = Packing.of(torch.tensor([[0, 1, 0, 1, 1]]))
    assert packing.sequences.positions.tolist() == [0, 1, 2]


def test_alibi_at_every_distance() -> None:
    expected = [[-(2.0 ** -(h + 1)) * abs(d) for d in range(-4, 5)] for h in range(8)]
    assert AlibiBias(8)(5).tolist() == expected
    assert AlibiBias(8)(0).shape == (8, 0)


def test_buckets_are_theirs() -> None:
    """Rounding included: float32's logarithm decides where a bucket ends."""
    pytest.importorskip("transformers")
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distance = torch.arange(-2000, 2001)
    assert torch.equal(bucket(distance), MPNetEncoder.relative_position_bucket(distance))
    assert bucket(torch.tensor([0, -1, 1, -7, 7, -128, 128])).tolist() == [0, 1, 17, 7, 23, 15, 31]
