"""A task obeys its calibration: the temperature changes no label, and is kept in the folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier, Sequences
from plainformer.finetune import Predictor
from plainformer.finetune.calibration import UNCALIBRATED, Calibration, moved, set_scores
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.soup.folder import load_members
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.tagging.crf import Chain
from plainformer.finetune.tasks.tagging.task import WordScores
from tests.encoder.tools import randomise
from tests.finetune.sentences import LABELS, sentence, task
from tests.pretrain import tiny

TOKENIZER = tiny.make_tokenizer()
TEMPERATURES = (0.3, 0.6, 1.0, 1.7, 40.0)
TEXTS = tiny.sentences(20)


def batch_of(task: AnyTask, rows: list[Any]) -> Batch[Any]:
    return Batch.of([task.encode(task.read(row, labelled=False), TOKENIZER) for row in rows])


def rows() -> list[Any]:
    return list(as_rows(TEXTS))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_labels_stay_where_thresholds_were_tuned(temperature: float) -> None:
    torch.manual_seed(0)
    two = Classification(labels=("a", "b"), positive="b", threshold=0.23, max_length=12)
    several = MultiLabel(labels=("a", "b", "c"), thresholds=(0.1, 0.5, 0.93), max_length=12)
    for before, count in ((two, 2), (several, 3)):
        batch, outputs = batch_of(before, rows()), 3 * torch.randn(len(TEXTS), count)
        after = before.at(temperature)
        taken = before.predict(outputs, batch)
        same = after.predict(after.calibrated(outputs), batch)
        for one, other in zip(taken, same, strict=True):
            given = [getattr(p, "label", None) or set(p.labels) for p in (one, other)]
            assert given[0] == given[1]
        back = after.at(1.0)
        assert back.calibration == UNCALIBRATED
        old, new = (np.array(getattr(t, "thresholds", 0) or t.threshold) for t in (before, back))
        assert np.allclose(old, new, atol=1e-12)


@pytest.mark.parametrize("decoding", ["each", "legal", "crf"])
def test_tags_stay_and_their_probabilities_are_those_of_the_scaled_chain(decoding: str) -> None:
    generator = torch.Generator().manual_seed(1)
    before = replace(task(plain=decoding == "each"), decoding=decoding)
    words = [["the", "cat"], ["eats"], ["fish", "and", "corn", "and", "eggs"]]
    items = [before.encode(sentence(some, None), TOKENIZER) for some in words]
    batch, count = Batch.of(items), len(before.labels)
    chain = Chain.legal(LABELS) if decoding != "each" else Chain.free(count)
    if decoding == "crf":
        noise = (torch.randn(shape, generator=generator) for shape in (count, (count, count)))
        chain = Chain(
            *(s + n for s, n in zip((chain.start, chain.transitions), noise, strict=True)),
            chain.end,
        )
    logits = 2 * torch.randn(8, count, generator=generator)
    outputs = WordScores(logits, torch.arange(8), Sequences.of([2, 1, 5]), chain)
    first = before.predict(outputs, batch)
    for temperature in TEMPERATURES:
        after = before.at(temperature)
        found = after.predict(after.calibrated(outputs), batch)
        assert [tags.tags for tags in found] == [tags.tags for tags in first]
        scaled = WordScores(
            logits / temperature, outputs.places, outputs.sentences, chain.scaled(1 / temperature)
        )
        for one, other in zip(found, before.predict(scaled, batch), strict=True):
            assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_sets_by_hand() -> None:
    p = np.array([[0.5, 0.1, 0.4], [0.2, 0.7, 0.1]])
    assert np.allclose(set_scores(p, "lac"), [[0.5, 0.9, 0.6], [0.8, 0.3, 0.9]])
    assert np.allclose(set_scores(p, "aps"), [[0.5, 1.0, 0.9], [0.9, 0.7, 1.0]])
    sets = {
        (score, q): Calibration(set_score=score, set_threshold=q).set_of("abc", p[0])
        for score in ("lac", "aps")
        for q in (0.2, 0.7, 0.95)
    }
    assert sets == {
        ("lac", 0.2): (),
        ("lac", 0.7): ("a", "c"),
        ("lac", 0.95): ("a", "c", "b"),
        ("aps", 0.2): (),
        ("aps", 0.7): ("a",),
        ("aps", 0.95): ("a", "c"),
    }


def test_a_moved_threshold_by_hand() -> None:
    assert moved(0.5, 1.0, 7.0) == 0.5 and moved(0.0, 1.0, 2.0) == 0.0
    assert moved(0.8, 1.0, 2.0) == pytest.approx(1 / (1 + np.exp(-np.log(4) / 2)))
    assert moved(moved(0.013, 1.0, 3.0), 3.0, 1.0) == pytest.approx(0.013)


def folder(path: Path, seed: int = 0, **calibration: Any) -> Path:
    """A classifier with random weights, calibrated so."""
    model = SequenceClassifier(tiny.shape("bert", TOKENIZER), labels=("a", "b", "c"))
    randomise(model, seed).save_pretrained(path)
    TOKENIZER.save(path)
    kind = Classification(labels=("a", "b", "c"), max_length=16)
    save_task(replace(kind, calibration=Calibration(**calibration)), path)
    return path


def shares(path: Path) -> np.ndarray:
    """The probabilities that it predicts."""
    return np.array(
        [[p.probabilities[label] for label in "abc"] for p in Predictor.load(path)(TEXTS)]
    )


def test_predictions_of_a_calibrated_folder(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain")
    chosen = {"set_threshold": 0.7, "least_confidence": 0.5}
    other = folder(tmp_path / "other", temperature=2.0, **chosen)
    before, after = shares(plain), shares(other)
    wanted = np.sqrt(before) / np.sqrt(before).sum(1, keepdims=True)
    assert np.allclose(after, wanted, atol=1e-6)
    for one, found in zip(Predictor.load(plain)(TEXTS), Predictor.load(other)(TEXTS), strict=True):
        assert list(one.to_json()) == ["label", "probabilities"]
        assert list(found.to_json()) == ["label", "probabilities", "set", "abstained"]
        assert found.label == one.label
        assert found.set == tuple(y for y, p in found.probabilities.items() if 1 - p <= 0.7)
        assert found.abstained == (found.confidence < 0.5)


def test_each_model_of_an_ensemble_has_its_own_temperature(tmp_path: Path) -> None:
    """A soup of them has none: its weights are of none of them."""
    one = folder(tmp_path / "one", seed=1, temperature=3.0, least_confidence=0.9)
    two = folder(tmp_path / "two", seed=2, temperature=0.7)
    both = Predictor.load([one, two])
    found = np.array([[p.probabilities[label] for label in "abc"] for p in both(TEXTS)])
    assert np.allclose(found, (shares(one) + shares(two)) / 2, atol=1e-6)
    assert both.task.calibration == UNCALIBRATED and both(TEXTS[:1])[0].abstained is None
    assert all(m.task.calibration == UNCALIBRATED for m in load_members([one, two]))


def test_a_folder_from_before_has_no_calibration(tmp_path: Path) -> None:
    path = folder(tmp_path / "run") / "task.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    del written["calibration"]
    path.write_text(json.dumps(written), encoding="utf-8")
    assert load_task(path.parent).calibration == UNCALIBRATED


@pytest.mark.parametrize(
    ("task", "calibration", "fault"),
    [
        (Classification(labels=("a", "b"), max_length=9), {"temperature": 0}, "temperature must"),
        (Classification(labels=("a", "b"), max_length=9), {"temperature": "2"}, "not the text"),
        (Classification(labels=("a", "b"), max_length=9), {"set_score": "x"}, "lac, aps"),
        (Classification(labels=("a", "b"), max_length=9), {"least_confidence": 2}, "least_confid"),
        (Classification(labels=("a", "b"), max_length=9), {"heat": 2}, "unknown fields heat"),
        (Regression(max_length=9), {"temperature": 2}, "predicts no probabilities"),
        (Regression(max_length=9), {"least_confidence": 0.5}, "predicts no probabilities"),
        (MultiLabel(labels=("a", "b"), max_length=9), {"set_threshold": 0.5}, "predicts no sets"),
    ],
)
def test_a_bad_calibration_is_told(
    task: AnyTask, calibration: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    save_task(task, tmp_path)
    path = tmp_path / "task.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**written, "calibration": calibration}), encoding="utf-8")
    with pytest.raises(UserError, match=fault) as told:
        load_task(tmp_path)
    assert "task.json" in str(told.value) and "\n" not in str(told.value)


def test_options_and_intervals() -> None:
    choice = MultipleChoice(max_length=16, calibration=Calibration(2.0, set_threshold=0.75))
    examples = [{"text": "a", "options": ["b", "c", "d"]}, {"text": "a", "options": ["x", "y"]}]
    batch = batch_of(choice, list(as_rows(examples)))
    lowest = torch.finfo(torch.float32).min
    found = choice.predict(torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, lowest]]), batch)
    assert [prediction.set for prediction in found] == [("b",), ("x", "y")]
    numbers = Regression(max_length=16, calibration=Calibration(set_threshold=0.5))
    (score,) = numbers.predict(torch.tensor([[2.0]]), batch_of(numbers, rows()[:1]))
    assert score.to_json() == {"score": 2.0, "interval": (1.5, 2.5)}
