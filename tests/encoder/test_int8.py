"""Whole numbers: exact products, bounded rounding, the two forms, and models that stay close."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from plainformer.encoder import MaskedLM, quantize_int8
from plainformer.encoder.int8_linear import Int8Linear
from plainformer.encoder.linear import Linear
from plainformer.encoder.ops.int8 import fused_linear, plain_linear, to_int8
from tests.encoder.tools import bert, modern, padded, randomise


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 600), st.integers(1, 40), st.integers(1, 40), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_two_forms_are_equal(tokens: int, columns: int, rows: int, biased: bool) -> None:
    weight, scale = to_int8(draw(rows, columns))
    inputs = (draw(tokens, columns, seed=1), weight, scale[:, 0], draw(rows) if biased else None)
    expected = plain_linear(*inputs)
    torch.testing.assert_close(fused_linear(*inputs), expected, rtol=1e-6, atol=1e-6)


def test_an_error_is_half_a_step_of_each_factor() -> None:
    """|x W − x_q W_q| ≤ Σ |x| ΔW + |W| Δx + Δx ΔW, with Δ half a step of the row."""
    x, linear = 3 * draw(50, 64), nn.Linear(64, 20)
    weight, bias = linear.weight.detach(), linear.bias.detach()
    found = Int8Linear(linear.weight, linear.bias)(x)
    dx = x.abs().amax(-1, keepdim=True).expand_as(x) / 254
    dw = weight.abs().amax(-1, keepdim=True).expand_as(weight) / 254
    bound = x.abs() @ dw.T + dx @ weight.abs().T + dx @ dw.T
    error = (found - nn.functional.linear(x, weight, bias)).abs()
    assert (error <= bound + 1e-5).all()
    assert error.max() > 0


def test_what_is_a_whole_number_of_steps_is_exact() -> None:
    x = torch.tensor([[127.0, -5.0, 0.0], [0.0, 0.0, 0.0], [1e-30, 0.0, -1e-30]])
    weight, scale = to_int8(torch.tensor([[127.0, 3.0, -127.0]]))
    for form in (plain_linear, fused_linear):
        y = form(x, weight, scale[:, 0], None)
        torch.testing.assert_close(y, torch.tensor([[127.0 * 127 - 15], [0.0], [254e-30]]))


@pytest.mark.parametrize("config", [bert(), modern(), bert(share_layers=True)])
def test_a_model_stays_close_and_only_its_blocks_change(config) -> None:
    model = randomise(MaskedLM(config)).eval()
    rounded = quantize_int8(copy.deepcopy(model))
    kinds = {name: type(module) for name, module in rounded.named_modules()}
    assert kinds["head.dense"] is Linear
    assert not any(parameter.requires_grad for parameter in rounded.parameters())
    assert kinds["encoder.blocks.0.attention.qkv"] is Int8Linear
    batch = padded([7, 3, 12])
    with torch.no_grad():
        one, two = model(**batch), rounded(**batch)
        spelled_out = copy.deepcopy(rounded)
        spelled_out.backend = "plain"
        torch.testing.assert_close(spelled_out(**batch), two, rtol=1e-4, atol=1e-4)
    assert not one.equal(two)
    assert (one - two).norm() < 0.05 * one.norm()
