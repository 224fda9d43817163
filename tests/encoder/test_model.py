"""Whole models: both backends alike, honest attention weights, FLOPs, dropout, compilation."""

import subprocess
import sys
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plainformer.encoder import Encoder, MaskedLM, ops, use_backend
from plainformer.encoder.build import build_norm
from tests.encoder.tools import assert_close, bert, modern, padded, python, randomise

VARIANTS = {
    f"{positions}-{norm}-{order}": bert(positions=positions, norm=norm, norm_order=order)
    for positions, norm, order in product(
        ("learned", "sinusoidal", "rotary", "alibi"), ("layer_norm", "rms_norm"), ("post", "pre")
    )
} | {
    "modern": modern(type_vocab_size=2),
    "local-alibi": bert(positions="alibi", local_attention=4, global_attn_every_n_layers=2),
    "gated-without-bias": bert(gated=True, bias=False, norm_bias=False),
    "factorised": bert(embedding_size=12),
    "a-square-projection": bert(embedding_size=32),
    "shared": bert(share_layers=True),
    "later-rows": bert(position_offset=3),
    "tanh-form": bert(hidden_act="gelu_tanh"),
    "relu": bert(hidden_act="relu"),
    "gated-relu": bert(hidden_act="relu", gated=True),
    "relative": bert(relative_bias=True),
    "relative-alone": bert(relative_bias=True, positions="rotary"),
    "relative-shared": bert(relative_bias=True, share_layers=True),
    "untied": bert(tie_word_embeddings=False),
}


def value_and_gradients(model: Any) -> tuple[Tensor, dict[str, Tensor]]:
    logits = model(**padded([17, 1, 9, 9]))
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    model.zero_grad()
    (logits * direction).sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_plain_and_fused_are_one_model(variant: str) -> None:
    plain = randomise(MaskedLM(VARIANTS[variant], backend="plain"))
    fused = MaskedLM(VARIANTS[variant]).eval()
    fused.load_state_dict(plain.state_dict())
    assert fused.backend == "fused"
    expected, gradients = value_and_gradients(plain)
    with use_backend("plain"):
        within = value_and_gradients(fused)
    assert torch.equal(within[0], expected), "the context manager chooses for every model"
    for logits, got in (value_and_gradients(fused), within):
        assert_close(logits, expected, 1e-5)
        scale = max(g.abs().max().item() for g in gradients.values())
        for name, gradient in gradients.items():
            assert (got[name] - gradient).abs().max() <= 1e-5 * scale, name


def test_norm_modules_are_torchs() -> None:
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0)) + 2
    pairs = {
        "layer_norm": torch.nn.LayerNorm(32, eps=1e-3),
        "rms_norm": torch.nn.RMSNorm(32, eps=1e-3),
    }
    for norm, theirs in pairs.items():
        ours = build_norm(bert(norm=norm, norm_eps=1e-3), 32)
        ours.load_state_dict(randomise(theirs).state_dict())
        assert_close(ours(x), theirs(x), 1e-6)
    assert build_norm(bert(norm_bias=False), 32).bias is None


def test_alibi_alone_decides_where_content_says_nothing() -> None:
    """With queries and keys of zero the weights are softmax(−slope · distance)."""
    model = randomise(Encoder(bert(positions="alibi", num_attention_heads=8)))
    for block in model.blocks:
        block.attention.qkv.weight.data[:64] = 0
        block.attention.qkv.bias.data[:64] = 0
    weights = model(**padded([9]), output_attentions=True).attentions[1][0]
    place = torch.arange(9.0)
    for head in range(8):
        scores = -(2.0 ** -(head + 1)) * (place[:, None] - place).abs()
        assert_close(weights[head], scores.softmax(-1), 1e-6)


def test_every_choice_changes_the_numbers() -> None:
    """A variant that is quietly ignored would be equal to another."""
    batch = padded([9, 5])
    names = [name for name in VARIANTS if name != "untied"]
    outputs = {n: randomise(Encoder(VARIANTS[n]))(**batch).last_hidden_state for n in names}
    for one, other in combinations(names, 2):
        # GELU's approximation is off by less than 1e-3 in each layer.
        near = {one, other} == {"learned-layer_norm-post", "tanh-form"}
        assert (outputs[one] - outputs[other]).abs().max() > (1e-6 if near else 0.01)


def test_the_switch_reaches_every_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a plain model no fused kernel runs, and in a fused one no plain formula but `rotate`."""
    model = MaskedLM(modern(type_vocab_size=2)).eval()
    kernels = ("scaled_dot_product_attention", "layer_norm", "gelu", "rms_norm")

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the other form")

    with monkeypatch.context() as patch:
        for kernel in kernels:
            patch.setattr(f"torch.nn.functional.{kernel}", forbidden)
        with pytest.raises(AssertionError, match="the other form"):
            model(**padded([4]))
        model.backend = "plain"
        model(**padded([4]))
        with use_backend("fused"), pytest.raises(AssertionError, match="the other form"):
            model(**padded([4]))
    with monkeypatch.context() as patch:
        patch.setattr("torch.einsum", forbidden)
        patch.setattr("torch.erf", forbidden)
        with pytest.raises(AssertionError, match="the other form"):
            model(**padded([4]))
        with use_backend("fused"):
            model(**padded([4]))


@pytest.mark.parametrize("variant", ["modern", "learned-layer_norm-post", "local-alibi"])
@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_attention_weights(variant: str, backend: Any) -> None:
    model = randomise(Encoder(VARIANTS[variant], backend=backend))
    batch = padded([17, 1, 9, 9], left=True)
    asked = model(**batch, output_attentions=True)
    silent = model(**batch)
    assert silent.attentions is None
    assert silent.hidden_states is None
    assert_close(asked.last_hidden_state, silent.last_hidden_state, 1e-6)
    assert len(asked.attentions) == model.config.num_hidden_layers
    real = batch["attention_mask"].float()
    place = torch.arange(17)
    for layer, weights in enumerate(asked.attentions):
        assert_close(weights.sum(-1), real[:, None].expand(4, 4, 17), 1e-6)
        assert (weights >= 0).all()
        if model.config.is_local(layer):
            far = (place[:, None] - place).abs() > model.config.local_attention // 2
            assert not weights[..., far].any()
    packed = model(batch["input_ids"][0], sequences=_one(17), output_attentions=True)
    assert packed.attentions[0].shape == (1, 4, 17, 17)


def _one(length: int) -> Any:
    from plainformer.encoder import Sequences

    return Sequences.of([length])


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("kind", ["embedding_dropout", "hidden_dropout", "attention_dropout"])
def test_dropout_in_training_alone(backend: Any, kind: str) -> None:
    model = randomise(Encoder(bert(**{kind: 0.5}), backend=backend))
    batch = padded([9, 5])

    def twice() -> tuple[Tensor, Tensor]:
        return model(**batch).last_hidden_state, model(**batch).last_hidden_state

    first, second = twice()
    assert torch.equal(first, second)
    model.train()
    first, second = twice()
    assert not torch.allclose(first, second)
    torch.manual_seed(5)
    first = model(**batch).last_hidden_state
    torch.manual_seed(5)
    assert torch.equal(model(**batch).last_hidden_state, first)


def test_weights_are_given_before_dropout() -> None:
    model = randomise(Encoder(bert(attention_dropout=0.5))).train()
    weights = model(**padded([9]), output_attentions=True).attentions[0]
    assert_close(weights.sum(-1), torch.ones(1, 4, 9), 1e-6)


def test_token_types_are_zero_by_default() -> None:
    model = randomise(Encoder(bert()))
    batch = padded([9, 5])
    zeros = {**batch, "token_type_ids": torch.zeros_like(batch["token_type_ids"])}
    del batch["token_type_ids"]
    assert torch.equal(model(**batch).last_hidden_state, model(**zeros).last_hidden_state)


def test_inputs_of_other_shapes_are_refused() -> None:
    """In a process of its own: in this one the run-time type check would speak first."""
    program = """
import torch
from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, Sequences
from tests.encoder.tools import bert
ids, row = torch.full((2, 7), 5), torch.full((7,), 5)
def ones(*shape):
    return torch.ones(shape, dtype=torch.int64)
for options in (
    {"attention_mask": ones(2, 5)},
    {"attention_mask": ones(1, 7)},
    {"token_type_ids": ones(2, 9)},
    {"token_type_ids": ones(1, 7)},
    {"attention_mask": ones(7), "input_ids": row, "sequences": Sequences.of([7])},
    {"token_type_ids": ones(8), "input_ids": row, "sequences": Sequences.of([7])},
):
    for cls in (Encoder, MaskedLM):
        try:
            print(cls(bert())(**{"input_ids": ids, **options}))
        except UserError as error:
            print(error)
"""
    refusals = [
        "attention_mask (2, 5) must have the shape of the ids, (2, 7)",
        "attention_mask (1, 7) must have the shape of the ids, (2, 7)",
        "token_type_ids (2, 9) must have the shape of the ids, (2, 7)",
        "token_type_ids (1, 7) must have the shape of the ids, (2, 7)",
        "sequences say where the tokens are: leave out attention_mask",
        "token_type_ids (8,) must have the shape of the ids, (7,)",
    ]
    assert python(program).splitlines() == [line for line in refusals for _ in range(2)]


def test_threads_do_not_share_a_choice() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with use_backend("plain"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(ops._chosen.get).result() is None


@pytest.mark.slow
def test_compiled() -> None:
    """In a process of its own: the shape checks of the tests cannot be compiled."""
    program = """
import torch
from tests.encoder.tools import assert_close, modern, padded, randomise
from plainformer.encoder import MaskedLM
model = randomise(MaskedLM(modern(type_vocab_size=2, num_hidden_layers=2)))
compiled = torch.compile(model, backend="aot_eager")
for lengths in ([7, 3], [9, 9]):
    logits = compiled(**padded(lengths))
    assert_close(logits, model(**padded(lengths)), 1e-5)
    logits.sum().backward()
    assert model.bias.grad.isfinite().all()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
