"""Parameters that a method adds to a linear layer: merged, saved apart, trained, never lost."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder import (
    EncoderConfig,
    MaskedLM,
    load_added,
    prepack_weights,
    quantize_int8,
    save_added,
)
from plainformer.encoder.linear import Linear
from plainformer.encoder.prepack import PrepackedLinear
from plainformer.training import TrainingConfig
from plainformer.training.optimizer import build_optimizer
from tests.encoder.tools import assert_close, bert, modern, padded, randomise

CONFIGS = pytest.mark.parametrize(
    "config", [bert(), bert(share_layers=True), bert(positions="alibi"), modern()]
)
BATCH = padded([7, 3, 12])


class Unmergeable(Linear):
    """(W + B A) x + b, where only the query and the value rows of B are not 0."""

    parts = ("query", "value")

    def __init__(self, layer: Linear, rank: int = 2) -> None:
        bias = layer.bias is not None
        super().__init__(layer.in_features, layer.out_features, bias, layer.fused_parts)
        self.weight, self.bias = layer.weight, layer.bias
        self.requires_grad_(False)
        rows = layer.out_features // len(layer.fused_parts)
        self.a = nn.ParameterDict(
            {part: nn.Parameter(torch.randn(rank, layer.in_features)) for part in self.parts}
        )
        self.b = nn.ParameterDict(
            {part: nn.Parameter(0.1 * torch.randn(rows, rank)) for part in self.parts}
        )

    def forward(self, x: Tensor) -> Tensor:
        added = torch.zeros(*x.shape[:-1], self.out_features)
        for part in self.parts:
            added[..., self.rows_of(part)] = x @ self.a[part].T @ self.b[part].T
        return super().forward(x) + added

    def added_parameters(self) -> Iterator[str]:
        return (f"{kind}.{part}" for kind in ("a", "b") for part in self.parts)


class LowRankLinear(Unmergeable):
    """The same, and it says which weights that makes."""

    def merged(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight.clone()
        for part in self.parts:
            weight[self.rows_of(part)] += self.b[part] @ self.a[part]
        return weight, self.bias


def with_added(model: MaskedLM, seed: int = 0, kind: type[Unmergeable] = LowRankLinear) -> Any:
    """A copy of `model` with low-rank layers for queries and values."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model)
    for block in model.blocks:
        block.attention.qkv = kind(block.attention.qkv)
    return model


def merged_by_hand(model: MaskedLM, added: Any) -> MaskedLM:
    """A copy of `model` with the products of `added` in its weights."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for block, other in zip(model.blocks, added.blocks, strict=True):
            query, _, value = block.attention.qkv.weight.chunk(3)
            a, b = other.attention.qkv.a, other.attention.qkv.b
            query.add_(b["query"] @ a["query"])
            value.add_(b["value"] @ a["value"])
    return model


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_parts_are_the_tensors_of_a_hugging_face_folder(tmp_path: Path) -> None:
    model = randomise(MaskedLM(bert()))
    model.save_pretrained(tmp_path)
    theirs = load_file(tmp_path / "model.safetensors")
    layer = model.blocks[1].attention.qkv
    for part in ("query", "key", "value"):
        name = f"bert.encoder.layer.1.attention.self.{part}"
        assert layer.weight[layer.rows_of(part)].equal(theirs[f"{name}.weight"])
        assert layer.bias[layer.rows_of(part)].equal(theirs[f"{name}.bias"])
    feed_forward = MaskedLM(modern()).blocks[0].feed_forward
    size = feed_forward.down.in_features
    assert feed_forward.up.rows_of("gate") == slice(0, size)
    assert feed_forward.up.rows_of("up") == slice(size, 2 * size)


@CONFIGS
def test_the_sum_is_that_of_the_merged_layers(config: EncoderConfig) -> None:
    base = randomise(MaskedLM(config))
    added = with_added(base)
    assert not added(**BATCH).allclose(base(**BATCH), atol=0.1)
    assert_close(added(**BATCH), merged_by_hand(base, added)(**BATCH), 1e-5)


@CONFIGS
def test_the_folder_is_that_of_the_base_and_added_parameters_return(
    config: EncoderConfig, tmp_path: Path
) -> None:
    base = randomise(MaskedLM(config))
    added = with_added(base)
    base.save_pretrained(tmp_path / "base")
    added.save_pretrained(tmp_path / "added")
    assert files(tmp_path / "added") == files(tmp_path / "base")

    save_added(added, tmp_path / "added")
    assert files(tmp_path / "added").keys() - files(tmp_path / "base").keys() == {
        "added.json",
        "added.safetensors",
    }
    fresh = with_added(MaskedLM.from_pretrained(tmp_path / "added"), seed=1)
    assert not fresh(**BATCH).equal(added(**BATCH))
    load_added(fresh, tmp_path / "added")
    assert fresh(**BATCH).equal(added(**BATCH))


def test_without_added_parameters_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no added parameters"):
        save_added(MaskedLM(bert()), tmp_path)


def spoil_names(tensors: dict[str, Tensor]) -> None:
    tensors.pop("encoder.blocks.1.attention.qkv.b.value")


def spoil_shape(tensors: dict[str, Tensor]) -> None:
    name = "encoder.blocks.1.attention.qkv.b.value"
    tensors[name] = tensors[name].T.contiguous()


def spoil_number(tensors: dict[str, Tensor]) -> None:
    tensors["encoder.blocks.1.attention.qkv.b.value"][0, 0] = torch.nan


@pytest.mark.parametrize("spoil", [spoil_names, spoil_shape, spoil_number])
def test_tensors_that_do_not_fit_are_named(spoil: Any, tmp_path: Path) -> None:
    added = with_added(MaskedLM(bert()))
    save_added(added, tmp_path)
    tensors = load_file(tmp_path / "added.safetensors")
    spoil(tensors)
    save_file(tensors, tmp_path / "added.safetensors")
    before = copy.deepcopy(added.state_dict())
    with pytest.raises(UserError, match=r"added\.safetensors: .*blocks\.1\.attention\.qkv\.b\.val"):
        load_added(added, tmp_path)
    assert all(tensor.equal(before[name]) for name, tensor in added.state_dict().items())


def test_another_method_or_other_layers_are_refused(tmp_path: Path) -> None:
    base = MaskedLM(bert())
    save_added(with_added(base), tmp_path)
    for other in (base, with_added(base, kind=Unmergeable)):
        with pytest.raises(UserError, match=r"added\.json: .* differ .*blocks\.0\.attention\.qkv"):
            load_added(other, tmp_path)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    model = with_added(MaskedLM(bert()))
    with pytest.raises(UserError, match=r"added\.json cannot be read"):
        load_added(model, tmp_path)
    save_added(model, tmp_path)
    (tmp_path / "added.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"added\.safetensors is damaged"):
        load_added(model, tmp_path)
    (tmp_path / "added.json").write_text(json.dumps({"format": 2, "layers": {}}))
    with pytest.raises(UserError, match="format"):
        load_added(model, tmp_path)


@CONFIGS
def test_prepacked_and_rounded_are_the_merged_weights(
    config: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plainformer.encoder.ops.prepacked.HAS_ONEDNN", True)
    base = randomise(MaskedLM(config))
    added = with_added(base)
    merged = merged_by_hand(base, added)
    packed = prepack_weights(copy.deepcopy(added))
    assert type(packed.blocks[0].attention.qkv) is PrepackedLinear
    assert_close(packed(**BATCH), merged(**BATCH), 1e-5)
    expected = quantize_int8(merged).state_dict()
    found = quantize_int8(added).state_dict()
    assert found.keys() == expected.keys()
    assert all(tensor.equal(expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize("convert", [prepack_weights, quantize_int8])
def test_what_cannot_be_merged_is_refused_whole(
    convert: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plainformer.encoder.ops.prepacked.HAS_ONEDNN", True)
    model = MaskedLM(bert())
    last = model.blocks[1].attention
    last.qkv = Unmergeable(last.qkv)
    before = [type(module) for module in model.modules()]
    with pytest.raises(UserError, match=r"blocks\.1\.attention\.qkv is a Unmergeable"):
        convert(model)
    assert [type(module) for module in model.modules()] == before


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_only_added_parameters_are_trained_and_by_adamw(kind: Any) -> None:
    model = with_added(MaskedLM(bert()))
    shares = lambda name: float(".a." in name or ".b." in name)  # noqa: E731
    optimizer = build_optimizer(model, TrainingConfig(optimizer=kind), shares)
    before = copy.deepcopy(model.state_dict())
    model.train()(**BATCH).square().sum().backward()
    optimizer.step()
    (group,) = optimizer.param_groups
    assert not group["muon"]
    moved = {n for n, tensor in model.state_dict().items() if not tensor.equal(before[n])}
    assert moved == {
        f"encoder.blocks.{number}.attention.qkv.{name}"
        for number, block in enumerate(model.blocks)
        for name in block.attention.qkv.added_parameters()
    }


def test_muon_takes_the_fused_parts_of_a_layer_apart() -> None:
    model = MaskedLM(bert())
    found = build_optimizer(model, TrainingConfig(optimizer="muon"))
    parts = {id(p): g["parts"] for g in found.param_groups for p in g["params"] if g["muon"]}
    for block in model.blocks:
        assert parts[id(block.attention.qkv.weight)] == 3
        assert parts[id(block.attention.output.weight)] == 1
    assert len(parts) == 8
