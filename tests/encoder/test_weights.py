"""Folders in and out: what is saved comes back, and what does not fit is one short error."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cellar import UserError
from encoder import Encoder, MaskedLM, QuestionAnswerer, SequenceClassifier, TokenClassifier
from encoder.weights import FAMILIES
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
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_labels_and_pooling_come_back(config: str, pooling: Any, tmp_path: Path) -> None:
    labels = [f"l{i}" for i in range(12)]
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


def shard(folder: Path) -> Path:
    """Spread the tensors over three files and an index, as Hugging Face does."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-{i % 3 + 1:05}-of-00003.safetensors" for i, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({n: t for n, t in tensors.items() if files[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": files}))
    return index


def test_weights_in_several_files(folder: Path) -> None:
    before = Encoder.from_pretrained(folder).state_dict()
    index = shard(folder)
    after = Encoder.from_pretrained(folder).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())

    part = folder / "model-00002-of-00003.safetensors"
    whole = part.read_bytes()
    part.write_bytes(whole[:-7])
    refused(folder, rf"{part.name} is damaged or cut short")
    save_file({}, part)
    refused(folder, r"tensors that model\.safetensors\.index\.json names and no file has: ")
    part.unlink()
    refused(folder, rf"{part.name} is missing")
    index.write_text("{")
    refused(folder, "is not readable JSON")
    for other in ("{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}'):
        index.write_text(other)
        refused(folder, "no weight_map")


def test_weights_in_several_files_of_theirs(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=2)
    theirs = randomise(transformers.BertModel(config))
    theirs.save_pretrained(tmp_path, max_shard_size="2MB")
    assert not (tmp_path / "model.safetensors").exists()
    ours = Encoder.from_pretrained(tmp_path)
    weight = theirs.encoder.layer[1].output.dense.weight
    assert torch.equal(ours.blocks[1].feed_forward.down.weight, weight)


def test_a_name_of_the_hub(folder: Path, tmp_path: Path) -> None:
    """From the hub's cache, in its layout, without a network; in a process of its own."""
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "hub" / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    (repository / "blobs").mkdir()
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for i, file in enumerate(folder.iterdir()):
        shutil.copy(file, repository / "blobs" / str(i))
        (snapshot / file.name).symlink_to(f"../../blobs/{i}")
    program = """
from cellar import UserError
from encoder import Encoder
print(Encoder.from_pretrained("some/model").num_parameters())
try:
    Encoder.from_pretrained("some/other")
except UserError as error:
    print(error)
"""
    done = python(program, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    count, message = done.splitlines()
    assert int(count) == Encoder.from_pretrained(folder).num_parameters()
    assert message.startswith("there is no folder some/other, and the hub did not give it: ")


def python(program: str, **environment: str) -> str:
    """What `program` prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account")
def test_loading_takes_little_more_memory_than_the_model(tmp_path: Path) -> None:
    """Of the memory that is no page of a file: the weights once, and not their copy."""
    big = bert(
        hidden_size=512, intermediate_size=2048, num_hidden_layers=8, max_position_embeddings=512
    )
    Encoder(big).save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size > 100e6
    program = f"""
import re, threading, time
from pathlib import Path
from encoder import Encoder

def anonymous():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", status)[1])

def watch():
    while watching:
        seen.append(anonymous())
        time.sleep(0.001)

watching, seen, before = True, [], anonymous()
thread = threading.Thread(target=watch)
thread.start()
model = Encoder.from_pretrained({str(tmp_path)!r})
watching = False
thread.join()
print(max(seen) - before)
"""
    assert 0.9 * size < int(python(program)) < 1.3 * size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    randomise(Encoder(bert())).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path, pattern: str, cls: Any = Encoder) -> None:
    """One short message that names the folder; no chain of others behind it."""
    with pytest.raises(UserError, match=pattern) as caught:
        cls.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({k: v for k, v in tensors.items() if v is not None}, path)


def test_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none", "there is no folder")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"no folder some/model; .*plainformer\[hub\]"):
        Encoder.from_pretrained("some/model")


def test_folder_without_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(folder, r"no config\.json")
    refused(folder / "model.safetensors", r"is a file")


@pytest.mark.parametrize("text", ["{", "", "[]", '"bert"', "\x00\xff"])
def test_broken_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refused(folder, r"config\.json is not")


@pytest.mark.parametrize("kind", ["gpt2", None, 3, ["bert"]])
def test_unknown_model_type(folder: Path, kind: Any) -> None:
    edit_config(folder, model_type=kind)
    refused(
        folder,
        r"model_type .* is not supported; supported: bert, roberta, .*, modernbert, plainformer$",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": -4},
        {"num_attention_heads": 5},
        {"hidden_dropout_prob": 1.5},
        {"hidden_act": "silu"},
        {"position_embedding_type": "relative_key"},
        {"id2label": {"first": "a"}},
        {"id2label": ["a", "b"]},
    ],
)
def test_config_that_makes_no_sense(folder: Path, changes: dict[str, Any]) -> None:
    edit_config(folder, **changes)
    refused(folder, "|".join(changes) + "|dropout|makes no sense")


def test_modernbert_config_that_is_not_supported(tmp_path: Path) -> None:
    for i, (changes, pattern) in enumerate(
        [
            ({"hidden_activation": "silu"}, "hidden_activation"),
            ({"mlp_bias": True}, "biases"),
            ({"layer_types": ["sliding_attention"] * 4}, "layer_types"),
            ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "yarn"),
        ]
    ):
        Encoder(modern()).save_pretrained(tmp_path / str(i))
        edit_config(tmp_path / str(i), **changes)
        refused(tmp_path / str(i), pattern)


def test_a_pooling_that_is_not_known(tmp_path: Path) -> None:
    SequenceClassifier(modern()).save_pretrained(tmp_path)
    edit_config(tmp_path, classifier_pooling="max")
    refused(tmp_path, "classifier_pooling 'max' is not supported", SequenceClassifier)


def test_no_tensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"no model\.safetensors")


@pytest.mark.parametrize("size", [0, 4, 100, -1, -5000])
def test_truncated_tensors(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, "damaged or cut short")


def test_foreign_tensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04" + b"pickle" * 1000)
    refused(folder, "damaged or cut short")


def test_a_tensor_is_missing(folder: Path) -> None:
    edit_tensors(folder, **{"encoder.layer.1.attention.self.key.bias": None})
    refused(folder, r"missing tensors: bert\.encoder\.layer\.1\.attention\.self\.key\.bias$")


def test_a_tensor_is_unexpected(folder: Path) -> None:
    edit_tensors(folder, **{"encoder.layer.7.output.dense.bias": torch.zeros(32)})
    refused(folder, r"unexpected tensors: bert\.encoder\.layer\.7\.output\.dense\.bias$")


def test_a_tensor_has_another_shape(folder: Path) -> None:
    edit_config(folder, intermediate_size=50)
    refused(folder, r"intermediate\.dense\.weight is \[48, 32\], expected \[50, 32\]")


def test_a_tensor_is_no_floating_point_number(folder: Path) -> None:
    """Quantised to eight bits, say: the numbers mean nothing without their scale."""
    name = "encoder.layer.0.intermediate.dense.weight"
    edit_tensors(folder, **{name: torch.ones(48, 32, dtype=torch.int8)})
    refused(folder, rf"no floating-point numbers: bert\.{name} is torch\.int8")


def test_query_and_key_of_other_shapes(folder: Path) -> None:
    """The sum of the three sizes is right, and one of them is wrong."""
    edit_tensors(
        folder,
        **{
            "encoder.layer.0.attention.self.query.bias": torch.zeros(30),
            "encoder.layer.0.attention.self.key.bias": torch.zeros(34),
        },
    )
    refused(folder, r"attention\.self\.query\.bias is \[30\], expected \[32\]")
    edit_tensors(folder, **{"encoder.layer.0.attention.self.query.weight": torch.zeros(32, 7)})
    refused(folder, r"attention\.self\.query\.weight is \[32, 7\], expected \[32, 32\]")


def test_more_layers_than_the_file_has(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=3)
    refused(folder, r"missing tensors: bert\.encoder\.layer\.2")


def test_a_config_of_an_earlier_version(tmp_path: Path) -> None:
    """A field that did not exist yet has its default."""
    Encoder(bert(positions="alibi")).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["initializer_range"]
    path.write_text(json.dumps(config))
    assert Encoder.from_pretrained(tmp_path).config.initializer_range == 0.02


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: what a full disk says, said by the system itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [50, 4000])
def test_a_full_disk_leaves_nothing_half_written(folder: Path, room: int) -> None:
    """With room for neither file, and with room for `config.json` alone."""
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    model = Encoder(bert(hidden_size=64))
    with disk_with_room_for(room), pytest.raises(UserError, match="cannot write the model to"):
        model.save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    with disk_with_room_for(room), pytest.raises(UserError):
        model.save_pretrained(folder.parent / "new")
    assert not list((folder.parent / "new").iterdir())


def test_a_folder_that_cannot_be(folder: Path) -> None:
    with pytest.raises(UserError, match="cannot write the model to"):
        Encoder(bert()).save_pretrained(folder / "config.json" / "sub")
    shutil.rmtree(folder)
    folder.write_text("a file")
    with pytest.raises(UserError, match="cannot write the model to"):
        Encoder(bert()).save_pretrained(folder)
    assert folder.read_text() == "a file"


def test_other_files_of_the_folder_stay(folder: Path) -> None:
    (folder / "vocab.txt").write_text("[PAD]")
    Encoder(bert(hidden_size=64)).save_pretrained(folder)
    assert (folder / "vocab.txt").read_text() == "[PAD]"
    assert Encoder.from_pretrained(folder).config.hidden_size == 64
