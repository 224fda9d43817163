"""Values of every kind, absurd sizes, numbers that are none, damaged files: one line each."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.base import UserError
from plainformer.encoder import Encoder, MaskedLM, QuestionAnswerer, SequenceClassifier
from plainformer.encoder.weights import FAMILIES
from tests.encoder.families import CONFIGS, pair
from tests.encoder.tools import bert, edit_config, modern, randomise, refused

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("number", [NAN, INF, -INF])
@pytest.mark.parametrize("cls", [Encoder, MaskedLM, SequenceClassifier, QuestionAnswerer])
def test_weights_that_are_no_numbers_are_named(cls: Any, number: float, tmp_path: Path) -> None:
    model = randomise(cls(bert()))
    with torch.no_grad():
        getattr(model, "encoder", model).blocks[1].feed_forward.up.weight[3, 4] = number
    model.save_pretrained(tmp_path)
    refused(tmp_path, r"NaN or infinite numbers: .*layer\.1\.intermediate\.dense\.weight", cls)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda t: {k: torch.full_like(v, NAN) for k, v in t.items()}, "and 35 more"),
        (lambda t: {k: v.double() + 1e300 for k, v in t.items()}, "and 35 more"),
        (lambda t: {k: (v.half() + 7e4) for k, v in t.items()}, "and 35 more"),
    ],
    ids=["all", "too large for single precision", "overflown in half"],
)
def test_many_weights_that_are_no_numbers(
    change: Callable[[Any], Any], names: str, folder: Path
) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    refused(folder, f"NaN or infinite numbers: .*{names}")


def test_large_weights_are_numbers(folder: Path) -> None:
    """The sum of the tensor is infinite in single precision, none of its numbers is."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layer.0.output.dense.weight"].fill_(3e38)
    save_file(tensors, path)
    assert Encoder.from_pretrained(folder).blocks[0].feed_forward.down.weight[0, 0] == 3e38


HUGE = 10**9
KINDS: list[Any] = ["32", "", [32], {"a": 1}, True, 2.5, NAN, INF, -1, 10**30]


@pytest.mark.parametrize("family", list(CONFIGS))
def test_values_of_the_wrong_kind(family: str) -> None:
    """Every field of every family with every kind of value: read, or refused by its own name."""
    table = FAMILIES[family]
    fields = {n for sources in table.fields.values() for n in sources} | set(table.fixed)
    fields |= {"layer_types", "rope_parameters", "rope_scaling", "sliding_window", "mlp_bias"}
    fields |= {"sinusoidal_pos_embds", "plainformer_positions", "num_attention_heads"}
    answered = 0
    for field in sorted(fields):
        for value in KINDS:
            try:
                table.read_config({**CONFIGS[family], field: value})
                answered += 1
            except UserError as error:
                ours = {o for o, theirs in table.fields.items() if field in theirs}
                known = {field, *ours, "biases", "hidden_size", "pad_token_id", "rope_type"}
                assert any(name in str(error) for name in known), (field, value, str(error))
                assert len(str(error)) < 250
    # A dropout of −1 is not among them, a theta of 2.5 is.
    assert answered < 0.4 * len(fields) * len(KINDS)


SIZES = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"]
SIZES += ["intermediate_size", "max_position_embeddings", "type_vocab_size", "embedding_size"]


def test_absurd_sizes_are_compared_with_the_file_before_anything_is_allocated(
    tmp_path: Path,
) -> None:
    """In a process that may have 4 GB of addresses, and ten seconds for all."""
    for name in CONFIGS:
        pair(name, "MaskedLM", tmp_path / name)
    randomise(MaskedLM(bert(positions="alibi"))).save_pretrained(tmp_path / "alibi")
    randomise(MaskedLM(modern(norm="rms_norm"))).save_pretrained(tmp_path / "own")
    program = f"""
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from plainformer.base import UserError
from plainformer.encoder import MaskedLM
NAMES = {{"dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
         "hidden_dim": "intermediate_size"}}
for config in sorted(Path({str(tmp_path)!r}).glob("*/config.json")):
    whole = json.loads(config.read_text())
    for field in [f for f in whole if NAMES.get(f, f) in {SIZES!r}]:
        for size in ({HUGE}, 2**28, 9_999, 2**62):
            config.write_text(json.dumps({{**whole, field: size}}))
            try:
                MaskedLM.from_pretrained(config.parent)
                print("loaded", config.parent.name, field, size)
            except UserError as error:
                print("refused", config.parent.name, field, size)
    config.write_text(json.dumps(whole))
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert time.monotonic() - started < 60
    loaded = {line for line in done.stdout.splitlines() if line.startswith("loaded")}
    # What needs no memory of its own: layers that are one, places that are no table.
    assert {" ".join(line.split()[1:3]) for line in loaded} == {
        "albert num_hidden_layers",
        "modernbert max_position_embeddings",
        "own max_position_embeddings",
        "alibi max_position_embeddings",
    }


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON|nested"),
        ("{}", "weight_map is missing"),
        ('{"weight_map": []}', "weight_map must be an object"),
        ('{"weight_map": {"a": 3}}', "a must be a text, not 3"),
        ('{"weight_map": {"a": null}}', "a is missing"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "not a file in its folder"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "not a file in its folder"),
        ('{"weight_map": {"a": ".."}}', "is missing"),
        ('{"weight_map": {"a": ""}}', "not a file in its folder|is missing"),
        ('{"weight_map": {"a": "x\\u0000y"}}', "not a file in its folder"),
        ('{"weight_map": {"a": "part.safetensors"}}', "no file has: a"),
        ('{"weight_map": {}}', "missing tensors"),
    ],
)
def test_an_index_that_is_damaged(index: str, message: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    refused(folder, message)


def test_a_header_of_safetensors_that_lies(folder: Path) -> None:
    """Kinds that torch does not have, shapes that are no product, offsets outside of the file."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    name = "encoder.layer.0.output.dense.weight"
    good = header[name]
    lies: list[Any] = [
        {**good, "dtype": "F4"},
        {**good, "dtype": "F8_E8M0"},
        {**good, "dtype": "I64"},
        {**good, "dtype": "C64"},
        {**good, "dtype": 7},
        {**good, "shape": [2**62, 2**62]},
        {**good, "shape": [-1]},
        {**good, "shape": []},
        {**good, "data_offsets": [0, 2**60]},
        {**good, "data_offsets": [8, 0]},
        {},
        None,
    ]
    for lie in lies:
        text = json.dumps({**header, name: lie}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        refused(folder, "damaged|shape|floating-point")
    for length in (0, 2**40, 2**63, 2**64 - 1):
        path.write_bytes(length.to_bytes(8, "little") + whole[8:])
        refused(folder, "damaged or cut short")


def test_loading_asks_for_no_more_than_the_model(folder: Path) -> None:
    """The shapes that are compared first take no memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edit_config(folder, max_position_embeddings=2**27)
    refused(folder, r"position_embeddings\.weight is \[40, 32\], expected \[134217728, 32\]")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15
