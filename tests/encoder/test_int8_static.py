"""Bytes in fixed ranges: the two forms, bounded rounding, models that stay close, and folders."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file, save_file
from torch._subclasses import FakeTensorMode
from torch.testing import assert_close

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, quantize_int8, quantize_static
from plainformer.encoder.feedforward import FeedForward
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.int8_static import Range, Trial
from plainformer.encoder.int8_static_linear import StaticLinear
from plainformer.encoder.linear import Linear
from plainformer.encoder.ops import int8_static as ops
from plainformer.encoder.weights.save import save
from plainformer.encoder.weights.storage import Storage
from tests.encoder.families import OURS, inputs, pair
from tests.encoder.tools import bert, modern, padded, randomise

BATCH = padded([7, 3, 12])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    st.sampled_from([0, 1, 5, 33]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([None, "gelu", "gelu_tanh", "relu", "tanh"]),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_the_two_forms_are_equal(tokens: int, columns: int, rows: int, act, is_joined) -> None:
    x, factor, shift = 3 * draw(tokens, columns), 50 * draw(columns).exp(), 128 + draw(columns)
    rounded = ops.fused_quantise(x, factor, shift)
    expected = ops.plain_quantise(x, factor, shift)
    assert_close(rounded.int(), expected.int(), rtol=0, atol=1)
    weight = (127 * draw(rows, columns).tanh()).to(torch.int8)
    numbers = (rounded, weight, ops.pack(weight), 1e-3 * draw(rows).exp(), draw(rows), act)
    out = (0.05, 7) if is_joined else None
    found, wanted = ops.fused_linear(*numbers, out), ops.plain_linear(*numbers, out)
    assert found.dtype == wanted.dtype == (torch.uint8 if is_joined else torch.float32)
    if is_joined:
        assert_close(found.int(), wanted.int(), rtol=0, atol=1)
    else:
        assert_close(found, wanted, rtol=1e-5, atol=1e-4)


def test_an_error_is_half_a_step_of_each_factor() -> None:
    """|Δy| ≤ Σ |W| step/2 + (scale/2) |x_q − zero|, for inputs within their range."""
    linear, sizes = Linear(64, 20), draw(64, seed=3).exp()
    x = (draw(200, 64, seed=1) + 20) * sizes  # far from 0
    weight = linear.weight.detach()
    found = Range(x.amin(0), x.amax(0))
    step, centre, zero = found.smoothed(weight)
    layer = StaticLinear(linear.weight, linear.bias, step, centre, zero)
    rounded = ops.plain_quantise(x, layer.factor, layer.shift).float()
    bound = (weight.abs() * step).sum(-1) / 2 + (rounded - zero).abs().sum(-1)[:, None] * (
        layer.scale / 2
    )
    with torch.no_grad():
        error = (layer(x) - linear(x)).abs()
    assert (error <= 1.01 * bound + 1e-4).all()
    assert 0 < error.max() < 0.02 * linear(x).std()  # beside a spread of 20 in the sizes


def test_a_range_without_its_largest_is_kept_where_the_error_is_smaller() -> None:
    few_large = draw(500, 8, seed=2).abs()
    few_large[0, 0] = 30.0
    for x in (few_large, draw(500, 8).abs().clamp(max=1)):
        found = Range(x.amin(0), x.amax(0))
        trial = Trial(found)
        trial.add(x)
        step, _, _ = trial.best
        assert step.unique().numel() == 1
        share = float(step[0] / found.in_common()[0][0])
        assert share < 0.7 if x is few_large else share > 0.99


@pytest.mark.parametrize(
    "config", [bert(), modern(), bert(share_layers=True), bert(hidden_act="relu", bias=True)]
)
def test_a_model_stays_close_and_only_its_blocks_change(config, monkeypatch) -> None:
    model = randomise(MaskedLM(config)).eval()
    rounded = quantize_static(copy.deepcopy(model), [BATCH])
    kinds = {name: type(module) for name, module in rounded.named_modules()}
    assert kinds["head.dense"] is Linear
    assert kinds["encoder.blocks.0.attention.qkv"] is StaticLinear
    assert is_int8(rounded)
    assert not any(parameter.requires_grad for parameter in rounded.parameters())
    with torch.no_grad():
        one, two = model(**BATCH), rounded(**BATCH)
        spelled_out = copy.deepcopy(rounded)  # after the weights are packed
        spelled_out.backend = "plain"
        assert_close(spelled_out(**BATCH), two, rtol=1e-3, atol=1e-3)
        monkeypatch.setattr(ops, "HAS_KERNEL", False)
        assert_close(copy.deepcopy(rounded)(**BATCH), two, rtol=1e-3, atol=1e-3)
    assert not one.equal(two)
    assert (one - two).norm() < 0.08 * one.norm()


def test_the_first_product_of_a_feed_forward_layer_gives_the_bytes_of_the_second() -> None:
    model = quantize_static(randomise(Encoder(bert())), [BATCH])
    layer = model.blocks[0].feed_forward
    assert isinstance(layer, FeedForward)
    x = draw(5, 32)
    between = layer.up(x)
    assert between.dtype == torch.uint8
    assert_close(layer(x), layer.down(between), rtol=0, atol=0)
    step, zero = layer.down.input_scale, layer.down.input_zero
    values = (between.float() - zero) * step
    layer.up.out = None
    assert ((layer.up(x) - values).abs() <= 0.51 * step).float().mean() > 0.9  # some are cut


def test_on_a_gpu_it_is_the_formula() -> None:
    with FakeTensorMode():
        x = torch.zeros(3, 4, dtype=torch.uint8, device="cuda")
        weight = torch.zeros(5, 4, dtype=torch.int8, device="cuda")
        scale = torch.zeros(5, device="cuda")
        assert ops.pack(weight) is None
        assert ops.fused_linear(x, weight, None, scale, scale).device.type == "cuda"


def test_what_is_refused() -> None:
    model = randomise(Encoder(bert()))
    with pytest.raises(UserError, match="no texts"):
        quantize_static(model, [])
    assert not is_int8(model)


@pytest.mark.parametrize("family", ["bert", "albert", "mpnet", "distilbert", "modernbert"])
def test_it_is_saved_and_loaded_bit_for_bit(family, tmp_path) -> None:
    _, ours = pair(family, "SequenceClassifier", tmp_path / "whole")
    batch = inputs(family)
    rounded = quantize_static(ours, [batch])
    rounded.save_pretrained(tmp_path / "int8")
    loaded = OURS["SequenceClassifier"].from_pretrained(tmp_path / "int8")
    state, expected = loaded.state_dict(), rounded.state_dict()
    assert state.keys() == expected.keys()
    assert all(state[n].dtype == t.dtype and state[n].equal(t) for n, t in expected.items())
    with torch.no_grad():
        assert torch.equal(loaded(**batch), rounded(**batch))


def test_sixteen_bits_leave_the_ranges_exact(tmp_path) -> None:
    rounded = quantize_static(randomise(Encoder(bert())), [BATCH])
    save(rounded, tmp_path / "both", Storage(weights="bf16"))
    state, loaded = rounded.state_dict(), Encoder.from_pretrained(tmp_path / "both").state_dict()
    for name, tensor in state.items():
        exact = (
            "scale" in name
            or name.endswith(("_zero", "correction"))
            or not tensor.is_floating_point()
        )
        assert loaded[name].equal(tensor if exact else tensor.bfloat16().float()), name


def test_a_folder_of_other_ranges_is_refused(tmp_path) -> None:
    model = randomise(Encoder(bert()))
    quantize_static(copy.deepcopy(model), [BATCH]).save_pretrained(tmp_path / "static")
    quantize_int8(model).save_pretrained(tmp_path / "dynamic")
    files = [tmp_path / name / "model_int8.safetensors" for name in ("static", "dynamic")]
    config = (tmp_path / "static" / "config.json").read_text("utf-8")
    (tmp_path / "dynamic" / "config.json").write_text(config, "utf-8")
    with pytest.raises(UserError, match=r"activations are static, and .* has no ranges"):
        Encoder.from_pretrained(tmp_path / "dynamic")
    tensors = load_file(files[0])
    name = "encoder.layer.0.attention.self.key.input_scale"
    for broken in ({**tensors, name: tensors[name] * torch.nan}, dict(tensors)):
        if broken[name].isfinite().all():
            del broken[name]
        save_file(broken, files[0])
        with pytest.raises(UserError, match=rf"{name} is missing or damaged"):
            Encoder.from_pretrained(tmp_path / "static")
    (tmp_path / "static" / "config.json").write_text(config.replace("static", "int8"), "utf-8")
    with pytest.raises(UserError, match=r"activations are int8, and .* has ranges"):
        Encoder.from_pretrained(tmp_path / "static")


def test_a_batch_without_tokens_says_nothing_of_the_ranges() -> None:
    one, other = (randomise(Encoder(bert())) for _ in range(2))
    empty = {name: tensor * 0 for name, tensor in BATCH.items()}
    quantize_static(one, [BATCH])
    quantize_static(other, [empty, BATCH])
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    with pytest.raises(UserError, match="there are no texts"):
        quantize_static(Encoder(bert()), [empty])
