"""Weights in the kernel's order: the same answers, the same file, and only where it helps."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    MaskedLM,
    prepack_weights,
    quantize_int8,
    quantize_static,
)
from plainformer.encoder.linear import Linear
from plainformer.encoder.prepack import PrepackedLinear
from plainformer.encoder.prepacked_block import PrepackedBlock
from tests.encoder.tools import assert_relative, bert, modern, padded, randomise


@pytest.fixture(autouse=True)
def it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN has such a product on every CPU; only with AVX-512 it is worth its while."""
    monkeypatch.setattr("plainformer.encoder.ops.prepacked.HAS_ONEDNN", True)


def kinds(model: nn.Module) -> dict[str, type]:
    return {name: type(module) for name, module in model.named_modules()}


@pytest.mark.parametrize(
    "config", [bert(), modern(), bert(share_layers=True), bert(hidden_act="relu"), bert(bias=False)]
)
def test_a_model_gives_the_same_answers(config) -> None:
    model = randomise(MaskedLM(config)).eval()
    batch = padded([7, 3, 12])
    with torch.no_grad():
        expected = model(**batch)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        assert prepack_weights(model) is model
        found = kinds(model)
        assert found["head.dense"] is Linear, "only blocks change"
        assert found["encoder.blocks.0.attention.qkv"] is PrepackedLinear
        assert_relative(model(**batch), expected, 1e-5)
        model.backend = "plain"
        assert_relative(model(**batch), expected, 1e-5)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(tensor.equal(before[name]) for name, tensor in after.items())


@pytest.mark.parametrize("lengths", [[9], [5, 5, 5], [7, 3, 12]])
@pytest.mark.parametrize("changes", [{}, {"positions": "alibi"}, {"attention_size": 16}])
def test_a_joined_block_computes_what_its_parts_compute(lengths, changes) -> None:
    model = randomise(Encoder(bert(**changes))).eval()
    batch = padded(lengths)
    with torch.no_grad():
        expected = model(**batch, output_attentions=True)
        prepack_weights(model)
        assert all(isinstance(block, PrepackedBlock) for block in model.blocks)
        assert_relative(model(**batch).last_hidden_state, expected.last_hidden_state, 1e-5)
        found = model(**batch, output_attentions=True)
        assert_relative(found.last_hidden_state, expected.last_hidden_state, 1e-5)
        for one, other in zip(found.attentions, expected.attentions, strict=True):
            assert_relative(one, other, 1e-5)


class Rows(TorchDispatchMode):
    """Note the numbers of rows for which oneDNN compiles a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "linear_pointwise" in str(func):
            self.seen.add(len(args[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("prepare", [prepack_weights, lambda m: quantize_static(m, [padded([9])])])
@pytest.mark.parametrize("config", [bert(), modern()])
def test_texts_of_like_length_share_kernels(config, prepare, monkeypatch) -> None:
    batches = [
        padded(lengths) for lengths in ([1], [7], [8], [13], [7, 3, 12], [5, 5], [33, 34, 35, 36])
    ]
    model = prepare(randomise(Encoder(config)).eval())
    with torch.no_grad():
        expected = [model(**batch).last_hidden_state for batch in batches]
        monkeypatch.setattr("plainformer.encoder.ops.shared_kernels.KEEPS_FEW_KERNELS", True)
        with Rows() as rows:
            found = [model(**batch).last_hidden_state for batch in batches]
    poolers = {1, 2, 3, 4}  # a row for each text
    assert rows.seen - poolers == {8, 16, 24, 138}
    for one, other in zip(found, expected, strict=True):
        assert_relative(one, other, 1e-5)


@pytest.mark.parametrize("part", ["attention", "attention.output", "feed_forward_norm"])
def test_a_hook_on_a_part_of_a_joined_block_is_called(part: str) -> None:
    model = prepack_weights(randomise(Encoder(bert())))
    batch = padded([9])
    with torch.no_grad():
        before = model(**batch).last_hidden_state
        module = model.blocks[1].get_submodule(part)

        def twice(_: nn.Module, __: object, output: object) -> object:
            return (2 * output[0], None) if isinstance(output, tuple) else 2 * output

        handle = module.register_forward_hook(twice)
        assert not model(**batch).last_hidden_state.allclose(before)
        handle.remove()
        assert model(**batch).last_hidden_state.equal(before)


@pytest.mark.parametrize("config", [modern(), bert(norm_order="pre"), bert(norm="rms_norm")])
def test_other_blocks_are_not_joined(config) -> None:
    assert PrepackedBlock not in kinds(prepack_weights(Encoder(config))).values()


def test_what_is_saved_are_the_weights(tmp_path) -> None:
    model = randomise(Encoder(bert()))
    model.save_pretrained(tmp_path / "one")
    prepack_weights(model).save_pretrained(tmp_path / "two")
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_what_has_no_such_kernel_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PrepackedLinear not in kinds(prepack_weights(Encoder(bert()).double())).values()
    monkeypatch.setattr("plainformer.encoder.ops.prepacked.HAS_ONEDNN", False)
    assert PrepackedLinear not in kinds(prepack_weights(Encoder(bert()))).values()


def test_nothing_is_learned_afterwards() -> None:
    model = prepack_weights(Encoder(bert()))
    with pytest.raises(RuntimeError):
        model(**padded([3])).last_hidden_state.sum().backward()


@pytest.mark.parametrize("config", [bert(), modern()])
def test_a_copy_is_refused_in_words(config) -> None:
    model = prepack_weights(Encoder(config))
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(UserError, match="neither copied nor pickled"):
            copied(model)


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_gradients_reach_the_inputs(act: str) -> None:
    """Those of an attack or an attribution: through the weights, not around them."""
    model = randomise(Encoder(bert(hidden_act=act))).eval()
    batch = padded([7, 3, 12])
    vectors = model.embeddings.tokens(batch.pop("input_ids")).detach()

    def gradient() -> Tensor:
        x = vectors.clone().requires_grad_()
        model(inputs_embeds=x, **batch).last_hidden_state.square().sum().backward()
        assert x.grad is not None
        return x.grad

    expected = gradient()
    prepack_weights(model)
    assert_relative(gradient(), expected, 1e-5)


@pytest.mark.parametrize("quantise", [quantize_int8, lambda m: quantize_static(m, [padded([7])])])
def test_a_model_in_int8_stays_as_it_is(quantise) -> None:
    model = quantise(randomise(Encoder(bert())).eval())
    batch = padded([7, 3])
    with torch.no_grad():
        expected, before = model(**batch).last_hidden_state, kinds(model)
        assert kinds(prepack_weights(model)) == before
        assert torch.equal(model(**batch).last_hidden_state, expected)
