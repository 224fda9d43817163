"""Each operation but attention: plain against an independent reference, fused against plain."""

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from plainformer.base import UserError
from plainformer.encoder import ops, use_backend
from plainformer.encoder.ops import fused, onednn, plain, prepacked
from tests.encoder.tools import PRECISIONS, assert_relative, both, draw, python


def test_signatures_are_equal() -> None:
    names = [n for n, f in vars(fused).items() if inspect.isfunction(f) and not n.startswith("_")]
    named = "attention rotate linear layer_norm rms_norm gelu gelu_tanh cross_entropy"
    assert set(named.split()) <= set(names)
    choosing = {"attention_form", "is_varlen", "has_varlen", "disable_compile"}
    for name in set(names) - choosing:
        form, other = getattr(fused, name), getattr(plain, name)
        assert str(inspect.signature(form)) == str(inspect.signature(other))


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_prepacked_linear(
    tokens: int, columns: int, rows: int, has_bias: bool, data: st.DataObject
) -> None:
    act = data.draw(st.sampled_from(list(prepacked.ACTIVATIONS)))
    x, weight = (draw(n, columns, dtype=torch.float32, seed=n) for n in (tokens, rows))
    bias = draw(rows, dtype=torch.float32, seed=2) if has_bias else None
    packed = prepacked.prepack(weight)
    assert packed.to_dense().equal(weight)
    y = prepacked.fused_linear(x, packed, bias, act)
    assert_relative(y, prepacked.plain_linear(x, packed, bias, act), 1e-5)
    expected = F.linear(x, weight, bias)
    assert_relative(y, expected if act is None else ops.ACTIVATIONS[act](expected), 1e-5)


@PRECISIONS
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(17, 12), (2, 3, 12), (1, 1), (1, 12), (5, 1), (0, 12)])
@pytest.mark.parametrize("rows", [1, 7, 32])
def test_linear(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    rows: int,
    has_bias: bool,
    dtype: torch.dtype,
    bound: float,
) -> None:
    monkeypatch.setattr(onednn, "MIN_TRAINING_FLOPS", 0)
    x, weight = draw(*shape, dtype=dtype), draw(rows, shape[-1], dtype=dtype, seed=1)
    bias = draw(rows, dtype=dtype, seed=2) if has_bias else None
    for y, expected in both(fused.linear, plain.linear, x, weight, bias):
        assert_relative(y, expected, bound)
    assert_relative(plain.linear(x, weight, bias), F.linear(x, weight, bias), bound)
    with torch.no_grad():
        assert_relative(fused.linear(x, weight, bias), plain.linear(x, weight, bias), bound)


def test_linear_of_views_and_of_what_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices, transposes, a gradient that is one number everywhere; and no gradient unasked."""
    monkeypatch.setattr(onednn, "MIN_TRAINING_FLOPS", 0)
    x = draw(12, 2, 9, dtype=torch.float32).transpose(0, 2)[1:, 1]
    weight, bias = draw(12, 8, dtype=torch.float32, seed=1).T, draw(8, dtype=torch.float32, seed=2)
    for learns in [(True, False, False), (False, True, False), (False, False, True)]:
        gradients = []
        for form in (fused.linear, plain.linear):
            leaves = [
                leaf.detach().clone(memory_format=torch.preserve_format).requires_grad_(is_asked)
                for leaf, is_asked in zip((x, weight, bias), learns, strict=True)
            ]
            form(*leaves).sum().backward()
            gradients.append([leaf.grad for leaf in leaves])
        assert [grad is not None for grad in gradients[0]] == list(learns)
        for found, wanted in zip(*gradients, strict=True):
            if wanted is not None:
                assert_relative(found, wanted, 1e-5)
    assert_relative(fused.linear(x, weight, bias), plain.linear(x, weight, bias), 1e-5)


@PRECISIONS
@pytest.mark.parametrize("with_bias", [True, False])
def test_layer_norm(with_bias: bool, dtype: torch.dtype, bound: float) -> None:
    x = draw(3, 5, 16, dtype=dtype) * 3 + 2
    weight, bias = draw(16, dtype=dtype, seed=1), draw(16, dtype=dtype, seed=2)
    inputs = (x, weight, bias if with_bias else None, 1e-5)
    for y, expected in both(fused.layer_norm, plain.layer_norm, *inputs):
        assert_relative(y, expected, bound)
    if dtype == torch.float64:
        theirs = torch.nn.LayerNorm(16, eps=1e-5, bias=with_bias, dtype=dtype)
        theirs.load_state_dict({"weight": weight, **({"bias": bias} if with_bias else {})})
        assert_relative(plain.layer_norm(*inputs), theirs(x), 1e-13)


@PRECISIONS
def test_rms_norm(dtype: torch.dtype, bound: float) -> None:
    x, weight = draw(3, 5, 16, dtype=dtype) * 3 + 2, draw(16, dtype=dtype, seed=1)
    for y, expected in both(fused.rms_norm, plain.rms_norm, x, weight, 1e-5):
        assert_relative(y, expected, bound)
    if dtype == torch.float64:
        theirs = torch.nn.RMSNorm(16, eps=1e-5, dtype=dtype)
        theirs.load_state_dict({"weight": weight})
        assert_relative(plain.rms_norm(x, weight, 1e-5), theirs(x), 1e-13)


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_a_norm_in_half_precision_does_not_overflow(norm: str) -> None:
    """The square of 300 is beyond fp16."""
    x, one = 300 * draw(5, 16, dtype=torch.float16), torch.ones(16, dtype=torch.float16)
    y = getattr(plain, norm)(x, one, *([None] if norm == "layer_norm" else []), 1e-5)
    assert y.dtype == torch.float16
    expected = getattr(F, norm)(x.float(), (16,), eps=1e-5)
    assert_relative(y, expected.half(), 2e-3)


@pytest.mark.parametrize("form", [plain, fused])
def test_eps_stands_inside_the_root(form: Any) -> None:
    """Of a constant row the variance is 0, of a row of 1e-3 the mean square is 1e-6."""
    one = torch.ones(4, dtype=torch.float64)
    x = torch.tensor([[1e-3, -1e-3, 1e-3, -1e-3]], dtype=torch.float64)
    expected = x / (1e-6 + 1e-5) ** 0.5
    assert_relative(form.layer_norm(x, one, None, 1e-5), expected, 1e-12)
    assert_relative(form.rms_norm(x, one, 1e-5), expected, 1e-12)
    assert not form.layer_norm(torch.full((1, 4), 7.0).double(), one, None, 1e-12).any()


@PRECISIONS
def test_gelu(dtype: torch.dtype, bound: float) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64).to(dtype)
    for y, expected in both(fused.gelu, plain.gelu, x):
        assert_relative(y, expected, bound)
    if dtype == torch.float64:
        normal = torch.distributions.Normal(0.0, 1.0)
        assert_relative(plain.gelu(x), x * normal.cdf(x), 1e-13)


@PRECISIONS
def test_gelu_tanh(dtype: torch.dtype, bound: float) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64).to(dtype)
    for y, expected in both(fused.gelu_tanh, plain.gelu_tanh, x):
        assert_relative(y, expected, bound)
    if dtype == torch.float64:
        assert 1e-5 < (plain.gelu_tanh(x) - plain.gelu(x)).abs().max() < 1e-3


@PRECISIONS
@pytest.mark.parametrize(
    "labels", [[0, 4, 2], [0, -100, 2], [-100, -100, -100], [-100, 1, -100], []]
)
def test_cross_entropy(labels: list[int], dtype: torch.dtype, bound: float) -> None:
    logits = draw(len(labels), 5, dtype=dtype) * 4
    chosen = torch.tensor(labels, dtype=torch.int64)
    for y, expected in both(fused.cross_entropy, plain.cross_entropy, logits, chosen):
        assert_relative(y, expected, bound)
    if dtype == torch.float64:
        expected = sum(
            -(row[label] - row.exp().sum().log())
            for row, label in zip(logits, labels, strict=True)
            if label != -100
        )
        assert_relative(plain.cross_entropy(logits, chosen), torch.as_tensor(expected), 1e-13)


@pytest.mark.parametrize("form", [plain, fused])
def test_cross_entropy_of_impossible_classes_and_large_logits(form: Any) -> None:
    logits = torch.tensor([[-float("inf"), 0.0, 0.0], [-float("inf"), 1000.0, 0.0]])
    loss = form.cross_entropy(logits, torch.tensor([1, -100]))
    assert_relative(loss, torch.tensor(2.0).log(), 1e-6)
    assert form.cross_entropy(logits, torch.tensor([-100, 2])) == 1000


@pytest.mark.parametrize("form", [plain, fused])
@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_class_is_refused(form: Any, label: int) -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        form.cross_entropy(draw(2, 5), torch.tensor([label, 0]))


def test_a_second_derivative_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a gradient that passes for a constant."""
    monkeypatch.setattr(onednn, "MIN_TRAINING_FLOPS", 0)
    monkeypatch.setattr(onednn, "HAS_ONEDNN", True)
    x, labels = draw(2, 5, dtype=torch.float32).requires_grad_(), torch.tensor([1, 2])
    for form in (ops.cross_entropy, lambda a, _: ops.linear(a, a).exp().sum()):
        with pytest.raises(UserError, match=r'no second derivative: take use_backend\("plain"\)'):
            torch.autograd.grad(form(x, labels), x, create_graph=True)
        with use_backend("plain"):
            (gradient,) = torch.autograd.grad(form(x, labels), x, create_graph=True)
        assert gradient.requires_grad


def test_cross_entropy_of_a_retained_graph() -> None:
    """Every backward pass through one graph gives the same gradient."""
    logits, labels = draw(4, 7).requires_grad_(), torch.tensor([3, -100, 0, 6])
    expected = torch.autograd.grad(plain.cross_entropy(logits, labels), logits)[0]
    loss = fused.cross_entropy(logits, labels)
    for retain_graph in (True, True, False):
        gradient = torch.autograd.grad(loss, logits, retain_graph=retain_graph)[0]
        assert_relative(gradient, expected, 1e-6)


@PRECISIONS
def test_rotate(dtype: torch.dtype, bound: float) -> None:
    from plainformer.encoder.positions import rotary_angles

    cos, sin = rotary_angles(torch.arange(9), 8, 10_000.0)
    x = draw(9, 2, 4, 8, dtype=dtype)
    y = fused.rotate(x, cos, sin)
    assert y.dtype == dtype
    for got, expected in both(fused.rotate, plain.rotate, x, cos.to(dtype), sin.to(dtype)):
        assert_relative(got, expected, bound)
    one = x[:, 0, 0]
    assert_relative(plain.rotate(one, cos, sin), y[:, 0, 0], 0.0)


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = draw(3)
    monkeypatch.setattr("torch.erf", lambda x: x.new_tensor(float("nan")))
    assert ops.gelu(x).isfinite().all(), "fused, unless told otherwise"
    with use_backend("plain"):
        assert ops.gelu(x).isnan().all()
        with use_backend("fused"):
            assert ops.gelu(x).isfinite().all()
        with use_backend("fused", override=False):
            assert ops.gelu(x).isnan().all(), "the outer choice holds"
    with pytest.raises(RuntimeError), use_backend("plain"):
        raise RuntimeError
    assert ops.gelu(x).isfinite().all(), "put back after an error, too"


def test_a_misspelt_backend_is_refused() -> None:
    """In a process of its own: in this one the run-time type check would speak first."""
    program = """
from plainformer.base import UserError
from plainformer.encoder import use_backend
try:
    with use_backend("plian"):
        print("it ran")
except UserError as error:
    print(error)
"""
    assert python(program) == "unknown backend 'plian': choose one of plain, fused\n"
