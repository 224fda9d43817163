"""Each operation: its plain form against an independent reference, its fused form against plain."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from encoder import Sequences, ops, use_backend
from encoder.ops import fused, onednn, plain, prepacked, short
from tests.encoder.tools import assert_relative, python

LENGTHS = [1, 3, 3, 8, 8, 8, 13]
# bf16 keeps 8 bits: an error of 2⁻⁸ in each of a few roundings.
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def both(function: Callable[..., Tensor], other: Callable[..., Tensor], *inputs: Any) -> Any:
    """Value and gradients of both functions: tensors among the inputs are differentiated."""
    answers = []
    for f in (function, other):
        leaves = [
            x.detach().clone().requires_grad_()
            if isinstance(x, Tensor) and x.is_floating_point()
            else x
            for x in inputs
        ]
        y = f(*leaves)
        (y * draw(*y.shape, seed=9).to(y.dtype)).sum().backward()
        gradients = [x.grad for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]
        answers.append([y.detach(), *gradients])
    return zip(*answers, strict=True)


def test_signatures_are_equal() -> None:
    names = [n for n, f in vars(fused).items() if inspect.isfunction(f) and not n.startswith("_")]
    named = "attention rotate linear layer_norm rms_norm gelu gelu_tanh cross_entropy"
    assert set(named.split()) <= set(names)
    for name in names:
        form, other = getattr(fused, name), getattr(plain, name)
        assert str(inspect.signature(form)) == str(inspect.signature(other))


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
        return lambda q, k, v, bias: form.attention(q, k, v, sequences, window, bias)

    for y, expected in both(run(fused), run(plain), q, k, v, bias):
        assert_relative(y, expected, bound)


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
    monkeypatch.setattr("encoder.ops.local.QUERIES", 4)
    sequences = Sequences.of([1, 4, 5, 12, 24, 24], causal=causal)
    q, k, v = draw(3, len(sequences.rows), 2, 8, dtype=dtype).unbind()
    bias = draw(2, 47, dtype=dtype, seed=4) if biased else None

    def run(form: Any) -> Callable[..., Tensor]:
        return lambda q, k, v, bias: form.attention(q, k, v, sequences, window, bias)

    for y, expected in both(run(fused), run(plain), q, k, v, bias):
        assert_relative(y, expected, bound)


@pytest.mark.parametrize("most", [1, 200, 10**6])
@pytest.mark.parametrize("longest", [0, 8, 13])
def test_short_texts_are_attended_to_in_batched_products(
    monkeypatch: pytest.MonkeyPatch, most: int, longest: int
) -> None:
    """In full precision, with no way back, if there are some; others as ever."""
    monkeypatch.setattr(short, "PRODUCTS", 8)
    monkeypatch.setattr(short, "SCORES", most)
    monkeypatch.setattr(short, "LONGEST", longest)
    sequences = Sequences.of(LENGTHS)
    q, k, v = draw(sum(LENGTHS), 3, 4, 8, dtype=torch.float32).unbind(1)
    served: list[int] = []
    attend = short.attention

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        served.append(q.shape[2])
        return attend(q, k, v)

    monkeypatch.setattr(short, "attention", watched)
    with torch.no_grad():
        y = fused.attention(q, k, v, sequences)
    assert served == [length for length in (3, 8) if length <= longest]
    assert_relative(y, plain.attention(q, k, v, sequences), 1e-5)
    served.clear()
    fused.attention(q.requires_grad_(), k, v, sequences).sum().backward()
    assert q.grad is not None
    assert not served


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@SETTINGS
def test_short_texts_that_hide_something_are_not(
    monkeypatch: pytest.MonkeyPatch, window: int | None, biased: bool, causal: bool
) -> None:
    monkeypatch.setattr(short, "PRODUCTS", 1)
    sequences = Sequences.of(LENGTHS, causal=causal)
    q, k, v = draw(3, sum(LENGTHS), 4, 8, dtype=torch.float32).unbind()
    bias = draw(4, 25, dtype=torch.float32, seed=4) if biased else None
    y = fused.attention(q, k, v, sequences, window, bias)
    assert_relative(y, plain.attention(q, k, v, sequences, window, bias), 1e-5)


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
    heads, weights = plain.attention_with_weights(q, k, v, sequences, window, bias)
    start = 0
    for i, length in enumerate(lengths):
        part = slice(start, start + length)
        expected, shares = reference(q[part], k[part], v[part], window, bias)
        assert_relative(heads[part], expected, 1e-13)
        assert_relative(weights[i, :, :length, :length], shares, 1e-13)
        assert not weights[i, :, length:].any(), "a query that is no token has no weights"
        assert not weights[i, :, :, length:].any()
        start += length


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
    monkeypatch.setattr(onednn, "WORTH_A_KERNEL", 0)
    x, weight = draw(*shape, dtype=dtype), draw(rows, shape[-1], dtype=dtype, seed=1)
    bias = draw(rows, dtype=dtype, seed=2) if has_bias else None
    for y, expected in both(fused.linear, plain.linear, x, weight, bias):
        assert_relative(y, expected, bound)
    assert_relative(plain.linear(x, weight, bias), F.linear(x, weight, bias), bound)
    with torch.no_grad():
        assert_relative(fused.linear(x, weight, bias), plain.linear(x, weight, bias), bound)


def test_linear_of_views_and_of_what_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices, transposes, a gradient that is one number everywhere; and no gradient unasked."""
    monkeypatch.setattr(onednn, "WORTH_A_KERNEL", 0)
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


def test_attention_plain_is_torchs_multihead_attention() -> None:
    torch.manual_seed(0)
    length, heads, size = 7, 4, 8
    theirs = torch.nn.MultiheadAttention(heads * size, heads, batch_first=True).double()
    x = draw(2, length, heads * size)
    expected, shares = theirs(x, x, x, average_attn_weights=False)
    qkv = F.linear(x, theirs.in_proj_weight, theirs.in_proj_bias)
    q, k, v = qkv.flatten(0, 1).unflatten(-1, (3, heads, size)).unbind(1)
    y, weights = plain.attention_with_weights(q, k, v, Sequences.of([length, length]))
    assert_relative(theirs.out_proj(y.flatten(1)).view_as(expected), expected, 1e-13)
    assert_relative(weights, shares, 1e-13)


@pytest.mark.parametrize("form", [plain, fused])
def test_dropout_keeps_the_expectation(form: Any) -> None:
    torch.manual_seed(0)
    sequences = Sequences.of([2, 5])
    q, k, v = draw(3, 7, 2, 8).unbind()
    exact = form.attention(q, k, v, sequences)
    draws = torch.stack([form.attention(q, k, v, sequences, dropout=0.3) for _ in range(2000)])
    assert draws.std(0).max() > 0.1, "dropout does something"
    assert (draws.mean(0) - exact).abs().max() < 6 * draws.std(0).max() / 2000**0.5


@pytest.mark.parametrize("form", [plain, fused])
def test_attention_of_nothing(form: Any) -> None:
    nothing = torch.zeros(0, 4, 8, requires_grad=True)
    y = form.attention(nothing, nothing, nothing, Sequences.of([]))
    assert y.shape == (0, 4, 8)
    y.sum().backward()


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


@PRECISIONS
def test_rotate(dtype: torch.dtype, bound: float) -> None:
    from encoder.positions import rotation

    cos, sin = rotation(torch.arange(9), 8, 10_000.0)
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
from cellar import UserError
from encoder import use_backend
try:
    with use_backend("plian"):
        print("it ran")
except UserError as error:
    print(error)
"""
    assert python(program) == "unknown backend 'plian': choose one of plain, fused\n"


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
    expected = plain.attention(q, k, v, sequences, window, bias)
    assert_relative(fused.attention(q, k, v, sequences, window, bias), expected, 1e-13)
