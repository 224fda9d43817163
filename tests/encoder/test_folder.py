"""Where weights are found: in one file or several, on the hub, and in how much memory."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.encoder import Encoder
from tests.encoder.tools import bert, python, randomise, refused


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
    refused(folder, "not JSON")


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
from plainformer.base import UserError
from plainformer.encoder import Encoder
print(Encoder.from_pretrained("some/model").num_parameters())
try:
    Encoder.from_pretrained("some/other")
except UserError as error:
    print(error)
"""
    done = python(program, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    count, message = done.splitlines()
    assert int(count) == Encoder.from_pretrained(folder).num_parameters()
    assert message.startswith(
        "there is no folder some/other, and downloading it from the hub failed: "
    )


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
from plainformer.encoder import Encoder

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
