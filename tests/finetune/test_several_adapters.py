"""Several adapters on one base: switched, mixed in one batch as one by one, averaged."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    HeadedModel,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
)
from plainformer.finetune.tuning import add_dora, add_lora, save_adapter
from plainformer.finetune.tuning.several import average, load_adapters, mixed
from tests.encoder.tools import assert_close, bert, modern, padded, randomise
from tests.finetune.test_lora import drawn

CONFIGS = pytest.mark.parametrize("config", [bert(), modern()], ids=["bert", "modern"])
NAMES = ["one", "two", "three", "one", "two"]
LENGTHS = [7, 3, 12, 1, 5]


def packed(lengths: list[int]) -> dict[str, Any]:
    """The batch of `padded`, in one row."""
    batch = padded(lengths)
    real = batch.pop("attention_mask").bool()
    return {**{name: x[real] for name, x in batch.items()}, "sequences": Sequences.of(lengths)}


def adapters(kind: Any, config: Any, folder: Path, labels: Mapping[str, list[str]]) -> Any:
    """Adapters of other methods, ranks, targets and labels, on one base without a pooler."""
    randomise(Encoder(config, pooler=False)).save_pretrained(folder / "base")
    folders = {}
    for number, (name, own) in enumerate(labels.items()):
        torch.manual_seed(number)
        model = kind.from_pretrained(folder / "base", labels=own)
        add = add_dora if number == 1 else add_lora
        targets = ("query", "value") if number == 0 else ("all",)
        add(model, rank=2 + number, targets=targets)
        save_adapter(drawn(model, number), folder / name, folder / "base")
        folders[name] = folder / name
    return {name: m.double() for name, m in load_adapters(kind, folders).items()}


@CONFIGS
@pytest.mark.parametrize("layout", [padded, packed])
def test_a_mixed_batch_is_that_of_the_texts_one_by_one(
    config: Any, layout: Any, tmp_path: Path
) -> None:
    labels = {"one": ["a", "b"], "two": ["a", "b", "c"], "three": ["x", "y", "z", "w"]}
    models = adapters(SequenceClassifier, config, tmp_path, labels)
    whole = padded(LENGTHS)
    found = mixed(models, NAMES, **layout(LENGTHS))
    assert list(found) == ["one", "two", "three"]
    rows = {name: list(outputs) for name, outputs in found.items()}
    for number, name in enumerate(NAMES):
        length = LENGTHS[number]
        alone = {key: tensor[number : number + 1, :length] for key, tensor in whole.items()}
        (expected,) = models[name](**alone)
        assert_close(rows[name].pop(0), expected, 1e-12)
    assert not any(rows.values())


def test_gradients_of_a_mixed_batch_reach_each_adapter(tmp_path: Path) -> None:
    labels = {"one": ["a", "b"], "two": ["a", "b", "c"], "three": ["x", "y"]}
    models = adapters(TokenClassifier, bert(), tmp_path, labels)
    batch = packed(LENGTHS)
    found = mixed(models, NAMES, **batch)
    assert [len(outputs) for outputs in found.values()] == [8, 8, 12]
    torch.stack([outputs.square().sum() for outputs in found.values()]).sum().backward()
    got = {n: [p.grad for p in m.parameters() if p.requires_grad] for n, m in models.items()}
    for name, model in models.items():
        model.zero_grad()
        whole = padded(LENGTHS)
        for number, of in enumerate(NAMES):
            if of == name:
                length = LENGTHS[number]
                alone = {key: t[number : number + 1, :length] for key, t in whole.items()}
                model(**alone).square().sum().backward()
        expected = [p.grad for p in model.parameters() if p.requires_grad]
        assert len(expected) == len(got[name]) > 4
        for mine, other in zip(got[name], expected, strict=True):
            assert_close(mine, other, 1e-10)


def test_the_base_is_in_memory_once(tmp_path: Path) -> None:
    models = adapters(SequenceClassifier, bert(), tmp_path, {"one": ["a", "b"], "two": ["a", "b"]})
    kept: list[set[int]] = [
        {id(p) for p in model.parameters() if not p.requires_grad} for model in models.values()
    ]
    assert kept[0] == kept[1] and len(kept[0]) > 20


@CONFIGS
def test_the_average_is_that_of_the_weights(config: Any, tmp_path: Path) -> None:
    models = adapters(SequenceClassifier, config, tmp_path, {"one": ["a", "b"], "two": ["a", "b"]})
    batch = padded([5, 9])
    before = {name: model(**batch) for name, model in models.items()}
    result = average(models, {"one": 0.25, "two": 0.75})
    for number, block in enumerate(result.blocks):
        merged = [m.blocks[number].attention.qkv.merged()[0] for m in models.values()]
        expected = 0.25 * merged[0] + 0.75 * merged[1]
        assert_close(block.attention.qkv.weight, expected, 1e-12)
    heads = [model.classifier.weight for model in models.values()]
    assert_close(result.classifier.weight, 0.25 * heads[0] + 0.75 * heads[1], 1e-12)
    alone = average(models, {"two": 1.0})
    assert_close(alone(**batch), before["two"], 1e-10)
    assert all(model(**batch).equal(before[name]) for name, model in models.items())
    result.float().save_pretrained(tmp_path / "whole")
    again = SequenceClassifier.from_pretrained(tmp_path / "whole")
    assert_close(again(**batch), result(**batch), 1e-5)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    labels = {"one": ["a", "b"], "two": ["a", "b", "c"]}
    models: dict[str, HeadedModel] = adapters(SequenceClassifier, bert(), tmp_path, labels)
    batch = padded([5, 9])
    with pytest.raises(UserError, match="no adapter 'three': choose one, two"):
        mixed(models, ["one", "three"], **batch)
    with pytest.raises(UserError, match="2 texts, and 1 names"):
        mixed(models, ["one"], **batch)
    with pytest.raises(UserError, match="heads of different outputs"):
        average(models, {"one": 0.5, "two": 0.5})
    with pytest.raises(UserError, match="add up to 1, not 2"):
        average(models, {"one": 1.0, "two": 1.0})
    other = copy.deepcopy(models["one"]).float()
    with torch.no_grad():
        other.base.embeddings.tokens.weight[5] += 1
    other.save_pretrained(tmp_path / "other-base")
    save_adapter(other, tmp_path / "other", tmp_path / "other-base")
    with pytest.raises(UserError, match="'one' and 'other' have different bases: embeddings"):
        load_adapters(SequenceClassifier, {"one": tmp_path / "one", "other": tmp_path / "other"})
