"""A calibrated folder is obeyed by all that answers from it, and opened by others as before."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from plainformer.deploy.card import Facts, card_text
from plainformer.deploy.export import export_folder, write_beside
from plainformer.deploy.opened import Opened
from plainformer.deploy.server.served import Served
from plainformer.finetune import Predictor
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.multitask import SeveralHeads, load_several, save_heads
from plainformer.finetune.task_file import load_task, save_task
from tests.explain.confidence.models import LABELS, TEXTS, TOKENIZER


@pytest.fixture
def hot(made: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> Path:
    """A calibrated folder."""
    run = shutil.copytree(made("labels")[0], tmp_path / "hot")
    task = load_task(run).at(1.7)
    save_task(replace(task, calibration=replace(task.calibration, set_threshold=0.8)), run)
    return run


def same_answers(folder: Path, hot: Path, runtime: Any = "torch") -> None:
    """Check that the server answers from a folder as `hot` predicts."""
    served = Served.load(folder, runtime=runtime)
    rows, items = served.read(TEXTS)
    found = served.answers(rows, served.compute(items))
    for one, wanted in zip(found, Predictor.load(hot)(TEXTS), strict=True):
        assert one["label"] == wanted.label and one["set"] == list(wanted.set)
        assert one["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)


def test_the_calibrated_folder_is_served_copied_and_opened_by_others(
    hot: Path, tmp_path: Path
) -> None:
    """For `transformers` it is a folder as before: the logits have no temperature."""
    same_answers(hot, hot)
    write_beside(Opened.of(hot), tmp_path / "copy")
    same_answers(tmp_path / "copy", hot)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(hot).eval()
    with torch.no_grad():
        logits = theirs(**TOKENIZER.batch(TEXTS)).logits
    for row, prediction in zip(logits / 1.7, Predictor.load(hot)(TEXTS), strict=True):
        p = dict(zip(LABELS, row.softmax(-1).tolist(), strict=True))
        assert p == pytest.approx(prediction.probabilities, abs=1e-5)


def test_the_card_says_that_others_do_not_apply_it(hot: Path) -> None:
    cards = [card_text(Facts.of(hot))]
    save_task(load_task(hot).at(1.0), hot)
    cards.append(card_text(Facts.of(hot)))
    assert ["calibrated" in card for card in cards] == [True, False]


def test_a_calibrated_head_among_several(hot: Path, tmp_path: Path) -> None:
    one, other = (Finetuned.load(hot).model for _ in range(2))
    save_heads(SeveralHeads({"one": one, "other": other}).tasks, tmp_path / "run")
    for name, task in (("one", load_task(hot)), ("other", load_task(hot).at(1.0))):
        TOKENIZER.save(tmp_path / "run" / name)
        save_task(task, tmp_path / "run" / name)
    (tmp_path / "run" / "tasks.json").write_text('{"one": {}, "other": {}}', encoding="utf-8")
    several = load_several(tmp_path / "run")
    assert several["one"](TEXTS) == Predictor.load(hot)(TEXTS)
    (before,), (after,) = (several[name](TEXTS[:1]) for name in ("other", "one"))
    assert before.confidence > after.confidence and before.set is None


@pytest.mark.slow
def test_an_exported_graph_obeys_the_temperature(hot: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_folder(hot, tmp_path / "exported")
    same_answers(tmp_path / "exported", hot, "onnxruntime")
