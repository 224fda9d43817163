"""FlashAttention on packed tokens: what is asked of it, answered by its formula on a CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from plainformer.encoder import AttentionMask, Sequences
from plainformer.encoder.ops import fused, plain, varlen
from tests.encoder import flash_on_cpu
from tests.encoder.tools import assert_relative, both, draw

LENGTHS = [1, 4, 4, 9, 6]


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> None:
    flash_on_cpu.install()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 0, 2, 20])
@pytest.mark.parametrize("dropout", [0.0, 1e-12])
def test_it_is_plain(window: int | None, causal: bool, dropout: float) -> None:
    """With dropout another operator is called, with next to none of it here."""
    sequences = Sequences.of(LENGTHS, causal=causal)
    q, k, v = draw(3, sum(LENGTHS), 2, 8).unbind()
    mask = AttentionMask(sequences, window)

    def run(attention: Callable[..., Tensor], p: float) -> Callable[..., Tensor]:
        return lambda q, k, v: attention(q, k, v, mask, p)

    ours, theirs = run(varlen.attention, dropout), run(plain.attention, 0.0)
    for y, expected in both(ours, theirs, q, k, v):
        assert_relative(y, expected, 1e-11)


def test_a_prefix_is_seen_by_all() -> None:
    mask = AttentionMask(Sequences.of(LENGTHS), prefix=3)
    size = sum(LENGTHS)
    q, k, v = draw(3, size + 3 * len(LENGTHS), 2, 8).unbind()
    pairs = both(
        lambda q, k, v: varlen.attention(q, k, v, mask, 0.0),
        lambda q, k, v: plain.attention(q, k, v, mask),
        *(q[:size], k, v),
    )
    for y, expected in pairs:
        assert_relative(y, expected, 1e-13)


def test_dropout_in_distribution_and_the_same_on_the_way_back() -> None:
    """With the unit vectors as values the result is the weights: each is 0, or w / (1 − p)."""
    p, draws, lengths = 0.3, 300, [2, 3, 5, 5]
    sequences = Sequences.of(lengths)
    mask = AttentionMask(sequences)
    q, k = draw(2, sum(lengths), 2, 5, dtype=torch.float32).unbind()
    v = torch.eye(5)[sequences.positions][:, None].expand(-1, 2, -1).contiguous()
    v.requires_grad_()
    weights = plain.attention(q, k, v, mask).detach()
    torch.manual_seed(0)
    for _ in range(3):
        y = varlen.attention(q, k, v, mask, p)
        (gradient,) = torch.autograd.grad(y.sum(), v)
        # Σ over queries of the weights that were kept: in y they are columns, in ∂v rows.
        sums = sequences.pad(y.detach()).sum(1).mT  # (sequences, keys, heads)
        assert_relative(gradient[..., 0], sequences.unpad(sums), 1e-5)
    dropped = torch.stack([varlen.attention(q, k, v, mask, p).detach() for _ in range(draws)])
    kept = dropped > 0
    assert_relative(dropped, kept * (weights / (1 - p)), 1e-5)
    share = kept[:, weights > 0].float().mean(0)
    assert (share - (1 - p)).abs().max() < 5 * (p * (1 - p) / draws) ** 0.5


def test_what_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "has_varlen", lambda _: True)
    plain_mask, query = AttentionMask(Sequences.of([3])), torch.zeros(3, 2, 16)
    assert fused.is_varlen(query, plain_mask)
    assert fused.is_varlen(query, AttentionMask(plain_mask.sequences, prefix=2))
    assert not fused.is_varlen(query, AttentionMask(plain_mask.sequences, window=1, prefix=2))
    assert not fused.is_varlen(query, AttentionMask(Sequences.of([3], causal=True), prefix=2))
    assert not fused.is_varlen(query, AttentionMask(plain_mask.sequences, bias=torch.zeros(2, 5)))
    for size in (20, 256):  # not divisible by 8; without a backward pass on some GPUs
        assert not fused.is_varlen(torch.zeros(3, 2, size), plain_mask)
