"""Attention: plain against the formula and torch's module, every fused way against plain."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from plainformer.encoder import AttentionMask, Sequences
from plainformer.encoder.ops import batched, fused, padded, plain
from tests.encoder.tools import PRECISIONS, assert_relative, both, draw

LENGTHS = [1, 3, 3, 8, 8, 8, 13]


SETTINGS = pytest.mark.parametrize(
    ("window", "biased"),
    [(None, False), (2, False), (100, False), (None, True), (2, True), (7, True)],
)


@SETTINGS
@PRECISIONS
@pytest.mark.parametrize(("lengths", "head_size"), [(LENGTHS, 8), (LENGTHS, 64), ([13] * 3, 32)])
def test_attention_fused_is_plain(
    window: int | None,
    biased: bool,
    lengths: list[int],
    head_size: int,
    dtype: torch.dtype,
    bound: float,
) -> None:
    sequences = Sequences.of(lengths)
    q, k, v = draw(3, sum(lengths), 4, head_size, dtype=dtype).unbind()
    bias = draw(4, 2 * max(lengths) - 1, dtype=dtype, seed=4) if biased else None

    def run(form: Any) -> Callable[..., Tensor]:
        return lambda q, k, v, bias: form.attention(q, k, v, AttentionMask(sequences, window, bias))

    for y, expected in both(run(fused), run(plain), q, k, v, bias):
        assert_relative(y, expected, bound)


@PRECISIONS
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("window", [None, 1, 4, 23])
def test_attention_of_padded_sequences_is_plain(
    monkeypatch: pytest.MonkeyPatch,
    window: int | None,
    biased: bool,
    causal: bool,
    dtype: torch.dtype,
    bound: float,
) -> None:
    """What a GPU runs where `varlen_attn` does not serve: padding is not seen, and gives no NaN."""
    monkeypatch.setattr("plainformer.encoder.ops.sliding_window.MIN_QUERIES", 4)
    sequences = Sequences.of([1, 4, 5, 12, 24, 24], causal=causal)
    q, k, v = draw(3, len(sequences.sequence_ids), 2, 8, dtype=dtype).unbind()
    bias = draw(2, 47, dtype=dtype, seed=4) if biased else None

    def run(attention: Any) -> Callable[..., Tensor]:
        return lambda q, k, v, bias: attention(q, k, v, AttentionMask(sequences, window, bias), 0.0)

    for y, expected in both(run(padded.attention), run(plain.attention), q, k, v, bias):
        assert_relative(y, expected, bound)


@pytest.mark.parametrize("form", [plain, fused, padded], ids=["plain", "fused", "padded"])
def test_dropout_of_attention_in_distribution(form: Any) -> None:
    """With the unit vectors as values the result is the weights: each is 0, or w / (1 − p)."""
    p, draws, lengths = 0.3, 400, [2, 3, 5, 5]
    sequences = Sequences.of(lengths)
    q, k = draw(2, sum(lengths), 2, 5, dtype=torch.float32).unbind()
    v = torch.eye(5)[sequences.positions][:, None].expand(-1, 2, -1).contiguous()
    mask = AttentionMask(sequences)
    weights = plain.attention(q, k, v, mask)
    torch.manual_seed(0)
    dropped = torch.stack([form.attention(q, k, v, mask, p) for _ in range(draws)])
    kept = dropped > 0
    assert_relative(dropped, kept * (weights / (1 - p)), 1e-5)
    real = weights > 0
    share = kept[:, real].float().mean(0)
    error = (p * (1 - p) / draws) ** 0.5
    assert (share - (1 - p)).abs().max() < 5 * error
    assert abs(float(share.mean()) - (1 - p)) < 5 * error / int(real.sum()) ** 0.5


@PRECISIONS
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("window", [1, 4, 5, 22, 23])
def test_a_window_is_read_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
    window: int,
    biased: bool,
    causal: bool,
    dtype: torch.dtype,
    bound: float,
) -> None:
    monkeypatch.setattr("plainformer.encoder.ops.sliding_window.MIN_QUERIES", 4)
    sequences = Sequences.of([1, 4, 5, 12, 24, 24], causal=causal)
    q, k, v = draw(3, len(sequences.sequence_ids), 2, 8, dtype=dtype).unbind()
    bias = draw(2, 47, dtype=dtype, seed=4) if biased else None

    def run(form: Any) -> Callable[..., Tensor]:
        return lambda q, k, v, bias: form.attention(q, k, v, AttentionMask(sequences, window, bias))

    for y, expected in both(run(fused), run(plain), q, k, v, bias):
        assert_relative(y, expected, bound)


@pytest.mark.parametrize("most", [1, 200, 10**6])
@pytest.mark.parametrize("longest", [0, 8, 13])
def test_short_texts_are_attended_to_in_batched_products(
    monkeypatch: pytest.MonkeyPatch, most: int, longest: int
) -> None:
    """In full precision, with no way back, if there are some; others as ever."""
    monkeypatch.setattr(batched, "MIN_PRODUCTS", 8)
    monkeypatch.setattr(batched, "MAX_SCORES", most)
    monkeypatch.setattr(batched, "MAX_LENGTH", longest)
    sequences = Sequences.of(LENGTHS)
    q, k, v = draw(sum(LENGTHS), 3, 4, 8, dtype=torch.float32).unbind(1)
    served: list[int] = []
    attend = batched.attention

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        served.append(q.shape[2])
        return attend(q, k, v)

    monkeypatch.setattr(batched, "attention", watched)
    with torch.no_grad():
        y = fused.attention(q, k, v, AttentionMask(sequences))
    assert served == [length for length in (3, 8) if length <= longest]
    assert_relative(y, plain.attention(q, k, v, AttentionMask(sequences)), 1e-5)
    served.clear()
    fused.attention(q.requires_grad_(), k, v, AttentionMask(sequences)).sum().backward()
    assert q.grad is not None
    assert not served


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@SETTINGS
def test_short_texts_that_hide_something_are_not(
    monkeypatch: pytest.MonkeyPatch, window: int | None, biased: bool, causal: bool
) -> None:
    monkeypatch.setattr(batched, "MIN_PRODUCTS", 1)
    sequences = Sequences.of(LENGTHS, causal=causal)
    q, k, v = draw(3, sum(LENGTHS), 4, 8, dtype=torch.float32).unbind()
    bias = draw(4, 25, dtype=torch.float32, seed=4) if biased else None
    y = fused.attention(q, k, v, AttentionMask(sequences, window, bias))
    assert_relative(y, plain.attention(q, k, v, AttentionMask(sequences, window, bias)), 1e-5)


def reference(
    q: Tensor, k: Tensor, v: Tensor, window: int | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One sequence, one query, one key at a time."""
    length, heads, size = q.shape
    output, weights = torch.zeros_like(q), q.new_zeros(heads, length, length)
    for h in range(heads):
        for i in range(length):
            keys = [j for j in range(length) if window is None or abs(i - j) <= window]
            scores = [
                q[i, h] @ k[j, h] / size**0.5
                + (0 if bias is None else bias[h, bias.shape[1] // 2 + j - i])
                for j in keys
            ]
            powers = torch.stack(scores).exp()
            for j, p in zip(keys, powers / powers.sum(), strict=True):
                weights[h, i, j] = p
                output[i, h] += p * v[j, h]
    return output, weights


@SETTINGS
def test_attention_plain_is_the_formula(window: int | None, biased: bool) -> None:
    lengths = [1, 4, 4, 9]
    sequences = Sequences.of(lengths)
    bias = draw(2, 41, seed=4) if biased else None
    q, k, v = draw(3, sum(lengths), 2, 8).unbind()
    heads, weights = plain.attention_with_weights(q, k, v, AttentionMask(sequences, window, bias))
    start = 0
    for i, length in enumerate(lengths):
        part = slice(start, start + length)
        expected, shares = reference(q[part], k[part], v[part], window, bias)
        assert_relative(heads[part], expected, 1e-13)
        assert_relative(weights[i, :, :length, :length], shares, 1e-13)
        assert not weights[i, :, length:].any(), "a query that is no token has no weights"
        assert not weights[i, :, :, length:].any()
        start += length


def test_attention_plain_is_torchs_multihead_attention() -> None:
    torch.manual_seed(0)
    length, heads, size = 7, 4, 8
    theirs = torch.nn.MultiheadAttention(heads * size, heads, batch_first=True).double()
    x = draw(2, length, heads * size)
    expected, shares = theirs(x, x, x, average_attn_weights=False)
    qkv = F.linear(x, theirs.in_proj_weight, theirs.in_proj_bias)
    q, k, v = qkv.flatten(0, 1).unflatten(-1, (3, heads, size)).unbind(1)
    y, weights = plain.attention_with_weights(q, k, v, AttentionMask(Sequences.of([length] * 2)))
    assert_relative(theirs.out_proj(y.flatten(1)).view_as(expected), expected, 1e-13)
    assert_relative(weights, shares, 1e-13)


@pytest.mark.parametrize("form", [plain, fused])
def test_dropout_keeps_the_expectation(form: Any) -> None:
    torch.manual_seed(0)
    mask = AttentionMask(Sequences.of([2, 5]))
    q, k, v = draw(3, 7, 2, 8).unbind()
    exact = form.attention(q, k, v, mask)
    draws = torch.stack([form.attention(q, k, v, mask, dropout=0.3) for _ in range(2000)])
    assert draws.std(0).max() > 0.1, "dropout does something"
    assert (draws.mean(0) - exact).abs().max() < 6 * draws.std(0).max() / 2000**0.5


@pytest.mark.parametrize("form", [plain, fused])
def test_attention_of_nothing(form: Any) -> None:
    nothing = torch.zeros(0, 4, 8, requires_grad=True)
    y = form.attention(nothing, nothing, nothing, AttentionMask(Sequences.of([])))
    assert y.shape == (0, 4, 8)
    y.sum().backward()


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 6), max_size=6),
    window=st.none() | st.integers(0, 7),
    biased=st.booleans(),
)
def test_attention_for_any_lengths(lengths: list[int], window: int | None, biased: bool) -> None:
    """Also unsorted ones: the packing sorts, a caller of `sequences=` need not."""
    sequences = Sequences.of(lengths)
    q, k, v = draw(3, sum(lengths), 2, 4).unbind()
    bias = draw(2, 41, seed=4) if biased else None
    expected = plain.attention(q, k, v, AttentionMask(sequences, window, bias))
    assert_relative(
        fused.attention(q, k, v, AttentionMask(sequences, window, bias)), expected, 1e-13
    )
