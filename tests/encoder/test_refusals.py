"""What does not fit is one short error that names it, and nothing is half-written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import Encoder, SequenceClassifier
from tests.disk import disk_with_room_for
from tests.encoder.tools import bert, edit_config, modern, refused


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({k: v for k, v in tensors.items() if v is not None}, path)


def test_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none", "there is no folder")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"no folder some/model; .*pip install huggingface_hub"):
        Encoder.from_pretrained("some/model")


def test_folder_without_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    refused(folder, r"no config\.json")
    refused(folder / "model.safetensors", r"is a file")
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "no config.json .but an adapter; plainformer convert merges it")


@pytest.mark.parametrize("text", ["{", "", "[]", '"bert"', "\x00\xff"])
def test_broken_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refused(folder, r"config\.json: not ")


@pytest.mark.parametrize("kind", ["gpt2", 3, ["bert"], ""])
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
    ],
)
def test_config_that_makes_no_sense(folder: Path, changes: dict[str, Any]) -> None:
    edit_config(folder, **changes)
    refused(folder, "|".join(changes) + "|dropout")


def test_modernbert_config_that_is_not_supported(tmp_path: Path) -> None:
    for i, (changes, pattern) in enumerate(
        [
            ({"hidden_activation": "silu"}, "hidden_activation"),
            ({"mlp_bias": True}, "biases"),
            ({"layer_types": ["sliding_attention"] * 4}, "layer_types"),
            ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "yarn"),
            ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters .*factor"),
            ({"rope_parameters": {"rope_theta": 7.0}}, "rope_parameters .*rope_theta"),
            ({"decoder_bias": None}, "decoder_bias None is not supported: only True is"),
        ]
    ):
        Encoder(modern()).save_pretrained(tmp_path / str(i))
        edit_config(tmp_path / str(i), **changes)
        refused(tmp_path / str(i), pattern)


def test_a_pooling_that_is_not_known(tmp_path: Path) -> None:
    SequenceClassifier(modern()).save_pretrained(tmp_path)
    edit_config(tmp_path, classifier_pooling="max")
    refused(tmp_path, "classifier_pooling 'max' is not supported", SequenceClassifier)


def test_a_problem_type_that_is_not_known(tmp_path: Path) -> None:
    SequenceClassifier(bert()).save_pretrained(tmp_path)
    edit_config(tmp_path, problem_type="ranking")
    refused(tmp_path, "problem_type 'ranking' is not supported", SequenceClassifier)


def test_no_tensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    refused(folder, r"no model\.safetensors, and no other format is read$")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_pickle_alone_can_be_converted(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, f"no model.safetensors; `plainformer convert` makes one of its {name}$")


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


@pytest.mark.parametrize("name", ["head.dense.bias", "head.norm.bias", "classifier.extra.weight"])
def test_a_tensor_beside_those_of_the_head_is_unexpected(name: str, tmp_path: Path) -> None:
    """In a folder of this class; another one may have such a head."""
    SequenceClassifier(modern()).save_pretrained(tmp_path)
    edit_tensors(tmp_path, **{name: torch.zeros(32)})
    refused(tmp_path, f"unexpected tensors: {name}$", SequenceClassifier)
    Encoder.from_pretrained(tmp_path)
    edit_config(tmp_path, architectures=["SomethingElse"])
    SequenceClassifier.from_pretrained(tmp_path)


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
    assert not (folder.parent / "new").exists()


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


def test_a_head_that_reads_the_first_token_takes_no_mean() -> None:
    with pytest.raises(UserError, match="pooling mean is for modern"):
        SequenceClassifier(bert(), pooling="mean")
