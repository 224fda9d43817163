"""A pickle of tensors becomes safetensors, bit for bit; any other pickle is refused unopened."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM
from plainformer.encoder.weights.convert import convert
from plainformer.tokenizer import train_tokenizer
from tests.disk import disk_with_room_for
from tests.encoder.families import EVERY, FAMILY, pair
from tests.encoder.tools import assert_close, bert, padded, randomise

transformers = pytest.importorskip("transformers")
OLD_NAMES = {"weight": "LayerNorm.gamma", "bias": "LayerNorm.beta"}
BATCH = padded([5, 9, 1])


@pytest.fixture
def model(tmp_path: Path) -> MaskedLM:
    """A masked language model, saved in `tmp_path / "model"` without its weights."""
    model: MaskedLM = randomise(MaskedLM(bert()))
    model.save_pretrained(tmp_path / "model")
    return model


def pickled(tmp_path: Path) -> dict[str, Tensor]:
    """What `transformers` 4 would have pickled: with a tied decoder, as one memory."""
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    return tensors


@pytest.mark.parametrize("new_format", [True, False], ids=["archive", "legacy"])
def test_the_same_numbers_here_and_in_transformers(
    model: MaskedLM, new_format: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model" / "pytorch_model.bin"
    tensors = pickled(tmp_path)
    torch.save(tensors, path, _use_new_zipfile_serialization=new_format)
    out = tmp_path / "out"
    assert convert(tmp_path / "model", out) == len(tensors) - 2
    written = load_file(out / "model.safetensors")
    assert set(tensors) - set(written) == {
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    }
    assert all(torch.equal(written[name], tensors[name]) for name in written)
    again = MaskedLM.from_pretrained(out)
    theirs, report = transformers.BertForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.no_grad():
        expected = model(**BATCH)
        assert torch.equal(again(**BATCH), expected)
        mask = BATCH["attention_mask"].bool()
        assert_close(theirs.eval()(**BATCH).logits[mask], expected[mask], 1e-5)


@EVERY
@FAMILY
def test_every_family_and_head(family: str, head: str, tmp_path: Path) -> None:
    theirs, ours = pair(family, head, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    convert(tmp_path / "model", tmp_path / "out")
    again = type(ours).from_pretrained(tmp_path / "out")
    assert all(map(torch.equal, ours.state_dict().values(), again.state_dict().values()))
    opened, report = type(theirs).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(torch.equal(theirs.state_dict()[n], t) for n, t in opened.state_dict().items())
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.numel() for t in written.values()) == sum(p.numel() for p in theirs.parameters())


def test_shards_names_of_old_half_precision_and_the_tokenizer(
    model: MaskedLM, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    train_tokenizer(["tokens travel packed"] * 9, vocab_size=40).save(folder)
    old = {
        re.sub(r"LayerNorm\.(weight|bias)", lambda found: OLD_NAMES[found[1]], name): tensor.half()
        for name, tensor in pickled(tmp_path).items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    index = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(old)}
    for shard in set(index.values()):
        torch.save({n: old[n] for n in old if index[n] == shard}, folder / shard)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    convert(folder, tmp_path / "out")
    assert load_file(tmp_path / "out/model.safetensors")["cls.predictions.bias"].dtype == torch.half
    again = MaskedLM.from_pretrained(tmp_path / "out")
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine.half().float(), other)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"} <= names
    assert not any(name.endswith(".bin") for name in names)


def test_what_shares_memory_without_being_tied_is_kept_whole(
    model: MaskedLM, tmp_path: Path
) -> None:
    folder, tensors = tmp_path / "model", pickled(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    both = torch.randn(2, 32)
    layer = "bert.encoder.layer.0.attention.output"
    tensors[f"{layer}.LayerNorm.weight"], tensors[f"{layer}.LayerNorm.bias"] = both
    tensors[f"{layer}.dense.weight"] = tensors[f"{layer}.dense.weight"].T
    torch.save(tensors, folder / "pytorch_model.bin")
    convert(folder, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert set(written) == set(tensors)
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)
    Encoder.from_pretrained(tmp_path / "out")


class Trap:
    """What a malicious pickle does: call something when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False], ids=["archive", "legacy"])
def test_a_pickle_that_holds_more_than_tensors_is_refused_and_not_run(
    model: MaskedLM, new_format: bool, tmp_path: Path
) -> None:
    tensors = {**pickled(tmp_path), "extra": Trap(tmp_path / "sprung")}
    path = tmp_path / "model" / "pytorch_model.bin"
    torch.save(tensors, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=r"refused: beside tensors it holds posix.mkdir"):
        convert(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_weights_are_named(model: MaskedLM, tmp_path: Path) -> None:
    folder, out = tmp_path / "model", tmp_path / "out"
    path = folder / "pytorch_model.bin"

    def refuses(message: str) -> None:
        with pytest.raises(UserError, match=message):
            convert(folder, out)
        assert not out.exists()
        assert [p.name for p in tmp_path.iterdir()] == ["model"]

    refuses("holds safetensors already")
    tensors = pickled(tmp_path)
    refuses(r"has no pytorch_model.bin, and no pytorch_model.bin.index.json")
    (folder / "tf_model.h5").write_bytes(b"\x89HDF")
    refuses(r"tf_model.h5 is a TensorFlow checkpoint, which is not read")
    (folder / "tf_model.h5").rename(folder / "flax_model.msgpack")
    refuses(r"flax_model.msgpack is a Flax checkpoint")
    torch.save(tensors, path)
    whole = path.read_bytes()
    for content in (b"", b"version https://git-lfs", whole[: len(whole) // 2], whole[:100]):
        path.write_bytes(content)
        refuses(r"pytorch_model.bin is damaged")
    torch.save([1, 2], path)
    refuses("holds no named tensors, but a list")
    torch.save({"epoch": 3, "model": tensors}, path)
    refuses("holds 'epoch', a int: a checkpoint of training")
    del tensors["bert.encoder.layer.1.output.dense.bias"]
    torch.save(tensors, path)
    refuses(r"does not load: missing tensors: bert.encoder.layer.1.output.dense.bias")


def test_an_index_names_files_of_its_folder_that_are_there(model: MaskedLM, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    pickled(tmp_path)
    index = folder / "pytorch_model.bin.index.json"
    for content, message in [
        ("{", "index.json: not JSON"),
        ("{}", "has no weight_map"),
        ('{"weight_map": []}', "weight_map must be an object"),
        ('{"weight_map": {"a": 3}}', "weight_map: a must be a text, not 3"),
        ('{"weight_map": {"a": "x\\u0000.bin"}}', "not a file in its folder"),
        ('{"weight_map": {"a": "../x.bin"}}', "not a file in its folder"),
        ('{"weight_map": {"a": "x.bin"}}', "x.bin is missing"),
    ]:
        index.write_text(content)
        with pytest.raises(UserError, match=message):
            convert(folder, tmp_path / "out")


ONE = torch.zeros(1)
ODD: list[tuple[str, Tensor, str]] = [
    ("one number, a million times a million", ONE.expand(10**6, 10**6), "3,725.3 GiB, of 0.1 MiB"),
    ("rows that overlap", torch.zeros(20_000).as_strided((10**4, 10**4), (1, 1)), "0.4 GiB, of"),
    ("sparse", torch.eye(4).to_sparse(), "'cls.odd', which is not a dense tensor"),
    ("compressed rows", torch.eye(4).to_sparse_csr(), "not a dense tensor"),
    ("nested", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "dense|damaged"),
    ("without memory", torch.eye(4, device="meta"), "not a dense tensor"),
    ("complex", torch.eye(4, dtype=torch.complex128), "not a dense tensor"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("new_format", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize(("tensor", "message"), [odd[1:] for odd in ODD], ids=[o[0] for o in ODD])
def test_tensors_that_cannot_be_written_as_they_are(
    tensor: Tensor, message: str, new_format: bool, model: MaskedLM, tmp_path: Path
) -> None:
    path = tmp_path / "model" / "pytorch_model.bin"
    tensors = {**pickled(tmp_path), "cls.odd": tensor}
    torch.save(tensors, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "model", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_many_names_for_one_memory(model: MaskedLM, tmp_path: Path) -> None:
    """Twelve layers that are one are written one by one; three thousand are no model."""
    path, one, tensors = (
        tmp_path / "model" / "pytorch_model.bin",
        torch.ones(9999),
        pickled(tmp_path),
    )
    torch.save({**tensors, **{f"cls.{i}": one for i in range(12)}}, path)
    assert convert(tmp_path / "model", tmp_path / "out") == len(tensors) - 2 + 12
    torch.save({**tensors, **{f"cls.{i}": one for i in range(3000)}}, path)
    with pytest.raises(UserError, match="expanded views"):
        convert(tmp_path / "model", tmp_path / "other")


def rezipped(path: Path, compression: int, change: Callable[[str, bytes], bytes]) -> None:
    """The archive once more, packed or not, with its parts changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content))


def test_archives_that_torch_does_not_write(model: MaskedLM, tmp_path: Path) -> None:
    """A part that is too short is read on into the next by torch, without a word."""
    path, tensors = tmp_path / "model" / "pytorch_model.bin", pickled(tmp_path)

    def halved(name: str, content: bytes) -> bytes:
        return content[: len(content) // 2] if name.endswith("/data/3") else content

    def larger(name: str, content: bytes) -> bytes:
        return content.replace(b"K\x20", b"J\xff\xff\xff\x7f") if "pkl" in name else content

    for compression, change, message in [
        (zipfile.ZIP_DEFLATED, lambda _name, content: content, "compressed archive"),
        (zipfile.ZIP_STORED, halved, "damaged or cut short"),
        (zipfile.ZIP_STORED, larger, "damaged or cut short"),
    ]:
        torch.save(tensors, path)
        rezipped(path, compression, change)
        with pytest.raises(UserError, match=message):
            convert(tmp_path / "model", tmp_path / "out")
    torch.save(tensors, path)
    rezipped(path, zipfile.ZIP_STORED, lambda _name, content: content)
    convert(tmp_path / "model", tmp_path / "out")


@pytest.mark.parametrize("room", [50, 4000, 30_000])
def test_a_full_disk(room: int, model: MaskedLM, tmp_path: Path) -> None:
    """Said by the system while it is written, and seen before by the disk's own figure."""
    torch.save(pickled(tmp_path), tmp_path / "model" / "pytorch_model.bin")
    with disk_with_room_for(room), pytest.raises(UserError, match=r"cannot write .*out"):
        convert(tmp_path / "model", tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=room))
        with pytest.raises(UserError, match="GiB are free"):
            convert(tmp_path / "model", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_nothing_is_overwritten(model: MaskedLM, tmp_path: Path) -> None:
    torch.save(pickled(tmp_path), tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds files that `plainformer convert` did not write"):
        convert(tmp_path / "model", tmp_path / "model")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file is not a folder"):
        convert(tmp_path / "model", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    convert(tmp_path / "model", tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match=r"it has no config.json"):
        convert(tmp_path, tmp_path / "out")
