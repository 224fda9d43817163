"""What a fine-tuned folder says of itself is read back; one that is damaged is told in a line."""

import json
import shutil
from pathlib import Path

import pytest

from plainformer.base import UserError
from plainformer.finetune import TASKS, FinetuneConfig, Predictor, finetune
from plainformer.finetune.task_file import FOREIGN, load_task, save_task
from plainformer.training import LoopConfig


@pytest.mark.parametrize("name", sorted(FOREIGN.values()))
def test_a_task_is_read_as_it_was_written(name, tmp_path):
    task = TASKS[name].foreign(("a", "猫"), 24)
    save_task(task, tmp_path)
    assert load_task(tmp_path) == task
    assert json.loads((tmp_path / "task.json").read_text(encoding="utf-8"))["task"] == name


@pytest.fixture(scope="module")
def whole(models, files, tmp_path_factory) -> Path:
    """A folder that was fine-tuned."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    config = FinetuneConfig(
        model=models["bert"],
        train=files("train"),
        valid=files("valid"),
        out=out,
        epochs=0.1,
        max_length=32,
        training=LoopConfig(eval_every=0, checkpoint_every=0),
    )
    finetune(config, quiet=True)
    return out


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"task": "divination"}, "task.json: task must be one of classification, multi-label, "),
        ({"task": ["classification"]}, r"task.json: task must be one of .*, not a list"),
        ({"task": None}, "task.json: task is missing"),
        ({"labels": None}, "task.json: labels must be a list, not null"),
        ({"labels": "ab"}, "labels must be a list, not the text 'ab'"),
        ({"labels": ["a", "a"]}, "task.json: labels must be different, and a stands there twice"),
        ({"labels": []}, "task.json: labels must be at least one"),
        ({"labels": [["a"], "b"]}, "labels must be a text, not a list"),
        ({"max_length": "32"}, "max_length must be a whole number, not the text '32'"),
        ({"max_length": -1}, "task.json: max_length must be at least 3, not -1"),
        ({"max_length": 10**20}, "max_length must be a whole number of at most 19 digits"),
        ({"overflow": "fold"}, "overflow must be one of truncate, windows, not the text 'fold'"),
        ({"weights": [1.0]}, "task.json: weights must be one for each of the 2 labels, not 1"),
        ({"threshold": float("nan")}, "task.json: threshold must be a finite number, not nan"),
        ({"positive": "cat"}, "task.json: positive must be one of the labels, not cat"),
        ({"colour": 1}, "task.json: unknown fields colour"),
        ({"labels": ["beast"]}, "task.json and config.json name other labels"),
    ],
)
def test_a_task_that_is_not_one_is_told(folder, changes, fault):
    fields = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    (folder / "task.json").write_text(json.dumps({**fields, **changes}))
    with pytest.raises(UserError, match=fault):
        Predictor.load(folder)


@pytest.mark.parametrize("name", ["task.json", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b'{"task": "cl', b"[1]", b"\xff\xfe", b""])
def test_broken_files_are_named(folder, name, content):
    if not (folder / name).exists():
        pytest.skip(f"this tokenizer has no {name}")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as told:
        Predictor.load(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("config.json", "it has no config.json"),
        ("model.safetensors", "it has no model.safetensors"),
    ],
)
def test_a_missing_part_is_named(folder, name, fault):
    (folder / name).unlink()
    with pytest.raises(UserError, match=fault):
        Predictor.load(folder)


def test_weights_cut_short_are_told(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or cut short"):
        Predictor.load(folder)


def test_a_folder_that_was_never_fine_tuned_is_told(models, tmp_path):
    for folder in (models["bert"], tmp_path):
        with pytest.raises(UserError, match=r"holds no task\.json: it was not fine-tuned"):
            Predictor.load(folder)
