"""A hub id stands wherever a folder does: from the cache of the hub, without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellar import UserError, find_folder
from tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find_folder(tmp_path) == tmp_path
    assert find_folder(str(tmp_path)) == tmp_path


def test_what_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        find_folder(tmp_path / "file")
    with pytest.raises(UserError, match=r"there is no folder .*missing$"):
        find_folder(tmp_path / "missing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'plainformer\[hub\]'"):
        find_folder("some/model")


def test_a_tokenizer_by_its_name_on_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "models--some--model"
    train_tokenizer(["plain text"] * 9, vocab_size=20).save(repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    program = "from tokenizer import load_tokenizer; print(load_tokenizer('some/model').vocab_size)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 20
