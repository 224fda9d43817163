import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainformer.__main__ import main
from plainformer.encoder import MaskedLM
from plainformer.tokenizer import train_tokenizer
from tests.encoder.tools import bert, randomise

pytest.importorskip("transformers")
TEXTS = ["the encoder reads", "from left to right, and back again", "tokens travel packed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(TEXTS * 20, vocab_size=60)
    tokenizer.save(folder)
    randomise(MaskedLM(bert(vocab_size=tokenizer.vocab_size))).save_pretrained(folder)
    return folder


def test_tables_a_picture_and_exit_code_0(folder: Path, tmp_path: Path, capsys: Any) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXTS))
    assert main(["compare", str(folder), "--text", str(text), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for what in ("embeddings", "layer 0", "layer 1", "logits", "equal, to"):
        assert what in printed
    assert re.search(r"ids equal on (\d+) of \1 texts", printed)
    assert {p.name for p in (tmp_path / "out").glob("[!.]*")} == {"parity.png", "parity.json"}


def test_exit_code_1_above_the_tolerance(folder: Path, capsys: Any) -> None:
    assert main(["compare", str(folder), "--tolerance", "1e-12"]) == 1
    assert "the first difference is in" in capsys.readouterr().out


def test_exit_code_2_for_what_the_user_can_put_right(
    folder: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "config.json" in capsys.readouterr().err
    assert main(["compare", str(folder), "--tolerance", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    assert main(["compare", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "pip install 'plainformer[compare]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("content", [None, "cut short"])
def test_the_folder_without_its_tensors_is_named(
    content: str | None, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    for file in folder.glob("*.json"):
        shutil.copy(file, tmp_path)
    if content:
        (tmp_path / "model.safetensors").write_text(content)
    assert main(["compare", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"plainformer compare: {tmp_path}: ")


def test_tensors_that_do_not_fit_are_the_loaders_error(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["bert.embeddings.LayerNorm.bias"] = torch.zeros(7)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert main(["compare", str(tmp_path)]) == 2
    assert "bert.embeddings.LayerNorm.bias" in capsys.readouterr().err


def test_what_transformers_cannot_express_has_no_counterpart(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    MaskedLM(bert(positions="alibi")).save_pretrained(tmp_path)
    assert main(["compare", str(tmp_path)]) == 2
    assert "transformers cannot express" in capsys.readouterr().err
