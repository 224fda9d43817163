"""Keys before each sequence: every form against the formula over concatenated keys, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import AttentionMask, PaddedSequences, Sequences
from plainformer.encoder.ops import batched, fused, padded, plain
from tests.encoder.tools import assert_close, assert_relative, both, draw

LENGTHS = [1, 4, 5, 5, 12, 24, 24]
LONGEST, HEADS, SIZE = max(LENGTHS), 2, 8
VISIBILITY = pytest.mark.parametrize(
    ("window", "causal", "biased"),
    [(w, c, b) for w in (None, 0, 3, 50) for c in (False, True) for b in (False, True)],
)
Attention = Callable[..., Tensor]


def concatenated(window: int | None, causal: bool) -> Attention:
    """Attention of one sequence at a time, over the prefix and the sequence's own keys."""

    def attend(
        q: Tensor, k: Tensor, v: Tensor, prefix: Tensor, values: Tensor, bias: Tensor | None
    ) -> Tensor:
        outputs = []
        for q_i, k_i, v_i in zip(*(x.split(LENGTHS) for x in (q, k, v)), strict=True):
            keys, all_values = torch.cat([prefix, k_i]), torch.cat([values, v_i])
            scores = torch.einsum("qhd,khd->hqk", q_i, keys) / SIZE**0.5
            distance = torch.arange(len(k_i)) - torch.arange(len(q_i))[:, None]
            hidden = torch.zeros_like(distance, dtype=torch.bool)
            if window is not None:
                hidden |= distance.abs() > window
            if causal:
                hidden |= distance > 0
            own = scores[:, :, len(prefix) :]
            if bias is not None:
                own = own + bias[:, LONGEST - 1 + distance]
            own = own.masked_fill(hidden, -torch.inf)
            weights = torch.cat([scores[:, :, : len(prefix)], own], -1).softmax(-1)
            outputs.append(torch.einsum("hqk,khd->qhd", weights, all_values))
        return torch.cat(outputs)

    return attend


def packed(form: Any, window: int | None, causal: bool) -> Attention:
    """Attention of packed sequences in this form."""
    sequences = Sequences.of(LENGTHS, causal=causal)

    def attend(
        q: Tensor, k: Tensor, v: Tensor, prefix: Tensor, values: Tensor, bias: Tensor | None
    ) -> Tensor:
        mask = AttentionMask(sequences, window, bias, prefix=len(prefix))
        keys, all_values = mask.prepend(prefix, k), mask.prepend(values, v)
        return form.attention(q, keys, all_values, mask, 0.0)

    return attend


def in_rows(form: Any, window: int | None, causal: bool) -> Attention:
    """Attention of a padded batch, with padding at the left."""
    sequences = Sequences.of(LENGTHS)
    rows = PaddedSequences(sequences.is_token.flip(1), causal)

    def attend(
        q: Tensor, k: Tensor, v: Tensor, prefix: Tensor, values: Tensor, bias: Tensor | None
    ) -> Tensor:
        mask = AttentionMask(rows, window, bias, prefix=len(prefix))
        # A sequence keeps its direction: its tokens go to the last columns.
        zeros, is_token = sequences.pad(torch.zeros_like(q)), rows.is_token[:, :, None, None]
        q, k, v = (zeros.masked_scatter(is_token, x) for x in (q, k, v))
        y = form.attention(q, mask.prepend(prefix, k), mask.prepend(values, v), mask, 0.0)
        return y[rows.is_token]

    return attend


@VISIBILITY
@pytest.mark.parametrize("prefix", [1, 5])
@pytest.mark.parametrize(
    ("form", "layout"),
    [(plain, packed), (fused, packed), (padded, packed), (plain, in_rows), (fused, in_rows)],
    ids=["plain", "fused", "padded", "plain in rows", "fused in rows"],
)
def test_a_prefix_is_concatenated(
    monkeypatch: pytest.MonkeyPatch,
    form: Any,
    layout: Callable[..., Attention],
    prefix: int,
    window: int | None,
    causal: bool,
    biased: bool,
) -> None:
    monkeypatch.setattr("plainformer.encoder.ops.sliding_window.MIN_QUERIES", 4)
    q, k, v = draw(3, sum(LENGTHS), HEADS, SIZE).unbind()
    keys, values = draw(2, prefix, HEADS, SIZE, seed=1).unbind()
    bias = draw(HEADS, 2 * LONGEST - 1, seed=2) if biased else None
    functions = layout(form, window, causal), concatenated(window, causal)
    for y, expected in both(*functions, q, k, v, keys, values, bias):
        assert_close(y, expected, 1e-13)


@torch.no_grad()
def test_short_texts_with_a_prefix_are_attended_to_in_batched_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batched, "MIN_PRODUCTS", 1)
    mask = AttentionMask(Sequences.of([3, 7, 7]), prefix=4)
    q, k, v = draw(3, 17, HEADS, SIZE, dtype=torch.float32).unbind()
    keys, values = draw(2, 4, HEADS, SIZE, dtype=torch.float32, seed=1).unbind()
    inputs = q, mask.prepend(keys, k), mask.prepend(values, v), mask
    assert_relative(fused.attention(*inputs), plain.attention(*inputs), 1e-5)


def test_weights_of_a_prefix() -> None:
    """They come before those of the sequence, and a query's weights sum to 1; padding has none."""
    mask = AttentionMask(Sequences.of([2, 5], causal=True), window=1, prefix=3)
    q, k, v = draw(3, 7, HEADS, SIZE).unbind()
    prefix = draw(3, HEADS, SIZE, seed=1)
    inputs = q, mask.prepend(prefix, k), mask.prepend(prefix, v), mask
    weights = plain.attention_with_weights(*inputs)[1]
    assert weights.shape == (2, HEADS, 5, 3 + 5)
    is_token = mask.sequences.is_token[:, None].expand(-1, HEADS, -1)
    assert_relative(weights.sum(-1), is_token.double(), 1e-13)
    assert (weights[:, :, :, :3] > 0).equal(is_token[..., None].expand(-1, -1, -1, 3))
    assert (weights[0, 0, :2, 3:5] > 0).tolist() == [[True, False], [True, True]]
