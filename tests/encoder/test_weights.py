"""What is saved comes back: every shape with every head, and under other heads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import (
    Encoder,
    EncoderConfig,
    MaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.weights import FAMILIES
from tests.encoder.tools import bert, modern, padded, randomise

CONFIGS = {
    "bert": bert(hidden_dropout=0.25, embedding_dropout=0.25, initializer_range=0.03),
    "modern": modern(),
    "one-layer-modern": modern(num_hidden_layers=1),
    "sinusoidal": bert(positions="sinusoidal"),
    "alibi": bert(positions="alibi"),
    "rms": bert(norm="rms_norm"),
    "pre": bert(norm_order="pre"),
    "many-layers": bert(num_hidden_layers=11),
    "modern-alibi": modern(positions="alibi", type_vocab_size=2),
    "two-dropouts": bert(embedding_dropout=0.3),
    "factorised": bert(embedding_size=12),
    "shared": bert(share_layers=True),
    "later-rows": bert(position_offset=3),
    "relative": bert(relative_bias=True),
    "relu": bert(hidden_act="relu"),
    "tanh-form": bert(hidden_act="gelu_tanh"),
    "prediction-head": bert(classifier_head="prediction"),
    "dense-head": modern(positions="alibi", type_vocab_size=2, classifier_head="relu"),
    "untied": bert(positions="alibi", tie_word_embeddings=False),
}
FAMILY = {"bert": "bert", "modern": "modernbert", "one-layer-modern": "modernbert"}
FAMILY |= {"sinusoidal": "bert", "many-layers": "bert", "relu": "bert", "tanh-form": "bert"}
ROBERTA = bert(architecture="roberta", classifier_head="tanh", position_offset=1)
MODELS = (Encoder, MaskedLM, SequenceClassifier, TokenClassifier, QuestionAnswerer)
ONE_OF_EACH = pytest.mark.parametrize("config", ["bert", "modern", "alibi"])


@pytest.mark.parametrize("config", list(CONFIGS))
@pytest.mark.parametrize("cls", MODELS)
def test_what_is_saved_comes_back(config: str, cls: Any, tmp_path: Path) -> None:
    model = randomise(cls(CONFIGS[config]))
    model.save_pretrained(tmp_path / "a" / "b")
    again = cls.from_pretrained(tmp_path / "a" / "b")
    assert again.config == model.config
    assert not again.training
    assert again.newly_initialised == ()
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    batch = padded([7, 3])
    if not model.config.type_vocab_size:
        del batch["token_type_ids"]
    one, other = model(**batch), again(**batch)
    if cls is Encoder:
        one, other = one.last_hidden_state, other.last_hidden_state
    if cls is QuestionAnswerer:
        one, other = torch.stack(one), torch.stack(other)
    assert torch.equal(one, other)
    kind = json.loads((tmp_path / "a" / "b" / "config.json").read_text())["model_type"]
    assert kind == FAMILY.get(config, "plainformer")
    assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


@ONE_OF_EACH
def test_without_a_pooler(config: str, tmp_path: Path) -> None:
    Encoder(CONFIGS[config], pooler=False).save_pretrained(tmp_path)
    assert Encoder.from_pretrained(tmp_path).pooler is None
    with pytest.raises(UserError, match="pooler"):
        Encoder.from_pretrained(tmp_path, pooler=True)


def test_a_pooler_that_the_family_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"modernbert has no encoder\.pooler"):
        Encoder(modern(), pooler=True).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_tied_matrix_is_written_once(tmp_path: Path) -> None:
    for config in CONFIGS.values():
        model = MaskedLM(config)
        model.save_pretrained(tmp_path)
        stored = load_file(tmp_path / "model.safetensors")
        tables = [n for n, t in stored.items() if t.shape == (config.vocab_size, config.token_size)]
        assert len(tables) == (1 if config.tie_word_embeddings else 2)
        size = sum(t.numel() for t in stored.values())
        fixed = 40 * 32 if config.positions == "sinusoidal" else 0
        assert size == model.num_parameters() + fixed


@ONE_OF_EACH
def test_labels_and_pooling_come_back(config: str, tmp_path: Path) -> None:
    labels = [f"l{i}" for i in range(12)]
    pooling: Any = "mean" if CONFIGS[config].classifier_head == "prediction" else "cls"
    SequenceClassifier(CONFIGS[config], labels, pooling).save_pretrained(tmp_path)
    model = SequenceClassifier.from_pretrained(tmp_path)
    assert model.labels == tuple(labels), "in order of their number, not of its digits"
    assert model.pooling == pooling


@ONE_OF_EACH
def test_a_masked_lm_serves_as_encoder_and_as_classifier(config: str, tmp_path: Path) -> None:
    lm = randomise(MaskedLM(CONFIGS[config]))
    lm.save_pretrained(tmp_path)
    encoder = Encoder.from_pretrained(tmp_path)
    assert encoder.pooler is None
    assert encoder.newly_initialised == ()
    classifier = SequenceClassifier.from_pretrained(tmp_path, labels=["a", "b", "c"])
    new = {"classifier.weight", "classifier.bias"}
    if config != "modern":
        new |= {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
    assert set(classifier.newly_initialised) == new
    carried, own = lm.state_dict(), classifier.state_dict()
    assert torch.equal(own["classifier.bias"], torch.zeros(3))
    for name in own.keys() - new:
        assert torch.equal(own[name], carried[name]), name
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, carried[f"encoder.{name}"])
    if config == "modern":
        assert "head.dense.weight" in own
    with pytest.raises(UserError, match=r"missing tensors: .*classifier\.weight.*labels="):
        SequenceClassifier.from_pretrained(tmp_path)


@ONE_OF_EACH
def test_a_classifier_under_new_labels(config: str, tmp_path: Path) -> None:
    old = randomise(SequenceClassifier(CONFIGS[config], ["no", "yes"]))
    old.save_pretrained(tmp_path)
    same = SequenceClassifier.from_pretrained(tmp_path, labels=("no", "yes"))
    assert same.newly_initialised == ()
    assert torch.equal(same.classifier.weight, old.classifier.weight)
    for labels in (["yes", "no"], ["a", "b", "c"]):
        model = SequenceClassifier.from_pretrained(tmp_path, labels=labels)
        assert model.labels == tuple(labels)
        assert set(model.newly_initialised) == {"classifier.weight", "classifier.bias"}
        assert not torch.equal(model.classifier.weight[:2], old.classifier.weight)
        assert torch.equal(
            model.encoder.embeddings.tokens.weight, old.encoder.embeddings.tokens.weight
        )
    with pytest.raises(UserError, match="missing tensors"):
        MaskedLM.from_pretrained(tmp_path)


@ONE_OF_EACH
def test_a_head_of_another_kind_is_left_in_the_file(config: str, tmp_path: Path) -> None:
    """Even where its classifier has the same name and the same shape."""
    old = randomise(SequenceClassifier(CONFIGS[config], ["no", "yes"]))
    old.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"missing tensors: .*classifier.*labels="):
        TokenClassifier.from_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"missing tensors: .*not trained as .*new_head=True"):
        QuestionAnswerer.from_pretrained(tmp_path)
    tags = TokenClassifier.from_pretrained(tmp_path, labels=["no", "yes"])
    spans = QuestionAnswerer.from_pretrained(tmp_path, new_head=True)
    for model in (tags, spans):
        assert set(model.newly_initialised) == {"classifier.weight", "classifier.bias"}
        assert not torch.equal(model.classifier.weight, old.classifier.weight)
        if config == "modern":
            assert torch.equal(model.head.dense.weight, old.head.dense.weight)


@pytest.mark.parametrize(
    ("config", "cls", "module", "other"),
    [
        (bert(), SequenceClassifier, "bert.pooler.dense", MaskedLM),
        (bert(), SequenceClassifier, "classifier", MaskedLM),
        (bert(), MaskedLM, "cls.predictions.transform.dense", TokenClassifier),
        (bert(), MaskedLM, "cls.predictions.decoder", Encoder),
        (modern(), TokenClassifier, "head.dense", Encoder),
        (modern(), SequenceClassifier, "classifier", TokenClassifier),
        (ROBERTA, SequenceClassifier, "classifier.dense", TokenClassifier),
        (ROBERTA, TokenClassifier, "classifier", SequenceClassifier),
    ],
)
def test_an_adapter_of_a_head_is_handed_on(
    config: EncoderConfig, cls: Any, module: str, other: Any, tmp_path: Path
) -> None:
    """To the method, which refuses what it does not know; but not to a model without that head."""
    cls(config).save_pretrained(tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    settings = json.dumps({"base_model_name_or_path": str(tmp_path / "base")})
    (tmp_path / "adapter" / "adapter_config.json").write_text(settings)
    tensors = {f"base_model.model.{module}.lora_A.weight": torch.zeros(2, 32)}
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    seen: list[str] = []
    cls.from_pretrained(tmp_path / "adapter", add=lambda *given: seen.extend(given[2]))
    assert seen == [f"{module}.lora_A.weight"]
    new = {} if other is Encoder else {"new_head": True}
    other.from_pretrained(tmp_path / "adapter", add=lambda *given: seen.extend(given[2]), **new)
    assert len(seen) == 1


def test_a_new_head_for_words(tmp_path: Path) -> None:
    encoder = randomise(Encoder(bert()))
    encoder.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"missing tensors: cls\.predictions"):
        MaskedLM.from_pretrained(tmp_path)
    model = MaskedLM.from_pretrained(tmp_path, new_head=True)
    assert set(model.newly_initialised) == {
        "head.dense.weight",
        "head.dense.bias",
        "head.norm.weight",
        "head.norm.bias",
        "bias",
    }


def test_settings_reach_the_constructor(tmp_path: Path) -> None:
    SequenceClassifier(bert()).save_pretrained(tmp_path)
    model = SequenceClassifier.from_pretrained(tmp_path, dropout=0.4, backend="plain")
    assert model.config.hidden_dropout == 0.4
    assert model.backend == "plain"
    with pytest.raises(TypeError, match="lables"):
        SequenceClassifier.from_pretrained(tmp_path, lables=["a"])


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("modernbert", "plainformer")])
@pytest.mark.parametrize("with_prefix", [True, False])
def test_a_legacy_checkpoint(family: str, with_prefix: bool, tmp_path: Path) -> None:
    defaults = FAMILIES[family].defaults
    small = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = randomise(Encoder(replace(defaults, **small, intermediate_size=48)))
    prefix = FAMILIES[family].prefix if with_prefix else ""
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    legacy = {
        prefix
        + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): v
        for k, v in stored.items()
    }
    assert f"{prefix}embeddings.LayerNorm.gamma" in legacy
    legacy[f"{prefix}embeddings.position_ids"] = torch.arange(512)[None]
    save_file(legacy, tmp_path / "model.safetensors")
    again = Encoder.from_pretrained(tmp_path)
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk(dtype: torch.dtype, tmp_path: Path) -> None:
    model = randomise(Encoder(bert()))
    model.to(dtype).save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {dtype}
    again = Encoder.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert again.state_dict()[name].dtype == torch.float32
        assert torch.equal(again.state_dict()[name], tensor.float())
