"""A run that is resumed learns from what it was begun with, or says what has changed."""

import json
import shutil
from dataclasses import replace

import pytest

from plainformer.base import UserError
from plainformer.finetune import FinetuneConfig, evaluate_folder, finetune
from plainformer.tokenizer import train_tokenizer
from plainformer.training import LoopConfig
from tests.finetune.conftest import rows

TEXTS = rows(40, 3)


def jsonl(examples, **more):
    return "".join(json.dumps({"text": t, "label": label, **more}) + "\n" for t, label in examples)


@pytest.fixture(scope="module")
def begun(models, one_thread, tmp_path_factory) -> FinetuneConfig:
    folder = tmp_path_factory.mktemp("begun")
    (folder / "train.jsonl").write_text(jsonl(TEXTS))
    (folder / "valid.jsonl").write_text(jsonl(TEXTS[:9]))
    config = FinetuneConfig(
        model=models["bert"],
        train=str(folder / "train.jsonl"),
        valid=str(folder / "valid.jsonl"),
        out=folder / "run",
        epochs=0.5,
        max_length=32,
        training=LoopConfig(eval_every=0, checkpoint_every=0),
    )
    finetune(config, quiet=True)
    return config


@pytest.fixture
def again(begun, tmp_path) -> FinetuneConfig:
    """A copy of the run and of its files, in the same places but for the folder."""
    folder = tmp_path / "copy"
    shutil.copytree(begun.out.parent, folder)
    shutil.copytree(begun.model, folder / "model")
    moved = {"train": str(folder / "train.jsonl"), "valid": str(folder / "valid.jsonl")}
    options = folder / "run" / "options.json"
    saved = json.loads(options.read_text())
    options.write_text(json.dumps({**saved, **moved, "model": str(folder / "model")}))
    return replace(begun, model=folder / "model", **moved, out=folder / "run", resume=True)


def renamed(examples):
    return [(text, {"bird": "zebra"}.get(label, label)) for text, label in examples]


CHANGED = {
    "a label": ("train", jsonl(renamed(TEXTS))),
    "one label of one example": ("train", jsonl([(TEXTS[0][0], "other"), *TEXTS[1:]])),
    "a text": ("train", jsonl([("another .", TEXTS[0][1]), *TEXTS[1:]])),
    "their order": ("train", jsonl([*TEXTS[1:], TEXTS[0]])),
    "an example is gone": ("train", jsonl(TEXTS[1:])),
    "an example is new": ("train", jsonl([*TEXTS, TEXTS[0]])),
    "a pair": ("train", jsonl(TEXTS, pair="and more")),
    "labels swapped": ("valid", jsonl(renamed(TEXTS[:9]))),
    "fewer to be measured on": ("valid", jsonl(TEXTS[:8])),
}


@pytest.mark.parametrize("change", CHANGED)
def test_changed_examples_are_refused(again, change):
    split, content = CHANGED[change]
    path = again.out.parent / f"{split}.jsonl"
    path.write_text(content)
    before = {p: p.read_bytes() for p in again.out.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=rf"{split}\.jsonl: the examples have changed since"):
        finetune(again, quiet=True)
    assert before == {p: p.read_bytes() for p in again.out.rglob("*") if p.is_file()}


def test_another_tokenizer_is_refused(again):
    train_tokenizer([text for text, _ in TEXTS], vocab_size=50).save(again.model)
    with pytest.raises(UserError, match="model: the tokenizer has changed since"):
        finetune(again, quiet=True)


@pytest.mark.parametrize("more", [{}, {"id": 7, "note": "a column that no task reads"}])
def test_the_same_examples_go_on(again, more):
    """Also where they stand on other lines, or beside other columns."""
    path = again.out.parent / "train.jsonl"
    path.write_text("\n\n" + jsonl(TEXTS, **more))
    assert finetune(again, quiet=True).metric.count == 9


@pytest.mark.parametrize("changes", [{"seeds": 2}, {"folds": 2, "valid": None}])
def test_several_runs_are_of_the_same_examples(again, changes, tmp_path):
    config = replace(again, out=tmp_path / "several", resume=False, **changes)
    finetune(config, quiet=True)
    more = replace(config, resume=True)
    finetune(more, quiet=True)
    (again.out.parent / "train.jsonl").write_text(jsonl(renamed(TEXTS)))
    with pytest.raises(UserError, match=r"train\.jsonl: the examples have changed since"):
        finetune(more, quiet=True)


def test_evaluation_compares_with_what_was_trained_on(again):
    train = again.out.parent / "train.jsonl"
    assert (
        "text that was trained on"
        in evaluate_folder(again.out, again.valid, quiet=True).warnings[0]
    )
    train.write_text(jsonl([("another .", "bird")]))
    evaluation = evaluate_folder(again.out, again.valid, quiet=True)
    assert evaluation.training is None and not evaluation.warnings
