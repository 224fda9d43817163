"""A hub id stands wherever a folder does: from the cache of the hub, without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plainformer.base import UserError, find_folder
from plainformer.base.from_json import typed
from plainformer.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find_folder(tmp_path) == tmp_path
    assert find_folder(str(tmp_path)) == tmp_path


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert find_folder("~/model") == tmp_path / "model"
    assert typed(Path, "~/model", "out") == tmp_path / "model", "as for --out=~/model"


def test_what_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        find_folder(tmp_path / "file")
    with pytest.raises(UserError, match=r"there is no folder .*missing$"):
        find_folder(tmp_path / "missing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install huggingface_hub"):
        find_folder("some/model")


def test_a_tokenizer_by_its_name_on_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "models--some--model"
    train_tokenizer(["plain text"] * 9, vocab_size=20).save(repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    program = (
        "from plainformer.tokenizer import load_tokenizer; "
        "print(load_tokenizer('some/model').vocab_size)"
    )
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


FOLDERS = ("runs/mine", "runs/models/minilm", "models", "gooogle")
NAMES = {
    "runs/mien": "did you mean runs/mine?",
    "runs/Mine": "did you mean runs/mine?",
    "rusn/mine": "did you mean runs/mine?",
    "run/mine": "did you mean runs/mine?",
    "runs/models/minlm": "did you mean runs/models/minilm?",
    "runs/model/minilm/": "did you mean runs/models/minilm?",
    "model": "did you mean models?",
    "./runs/mien": "did you mean runs/mine?",
    "runs/other": "there is no folder runs/other",
    "models/bert": "there is no folder models/bert",
    "bundel": "there is no folder bundel, and no model of that name: there are minilm, splade",
    "trec": "there is no folder trec, and no model of that name: there are minilm, splade",
    "/nowhere/at/all": "there is no folder /nowhere/at/all",
    "../nowhere": "there is no folder ../nowhere",
    "~/nowhere": "there is no folder ~/nowhere",
    "a/b/c": "there is no folder a/b/c",
    "runs/bert base": "there is no folder runs/bert base",
    "": "an empty path names no folder",
}
"""what is given, and what is said of it; of none of them the hub is asked"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the hub is asked for, from a folder with some folders in it."""
    hub, names = pytest.importorskip("huggingface_hub"), []
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / ".plainformer").write_text("{}")  # a folder that a command has begun
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **_: names.append(name) or "/hub")
    return names


@pytest.mark.parametrize("name", NAMES)
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(asked: list[str], name: str) -> None:
    with pytest.raises(UserError, match="^.*" + re.escape(NAMES[name]) + "$"):
        find_folder(name)
    assert not asked


@pytest.mark.parametrize("name", ["google/bert", "sentence-transformers/all-MiniLM-L6-v2", "a/b.c"])
def test_an_owner_and_a_name_are_asked_for(asked: list[str], name: str) -> None:
    """Also where the owner's name alone is near to that of a folder."""
    assert find_folder(name) == Path("/hub") and asked == [name]
