"""Each task divides its outputs by the temperature, and the known one is found."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from plainformer.explain.confidence import calibrate
from plainformer.explain.confidence.answered import Answered
from plainformer.explain.confidence.temperature import fit_temperature
from plainformer.finetune import Predictor
from plainformer.finetune.calibration import Calibrated
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.task_file import load_task
from plainformer.finetune.tasks import TASKS, name_of
from plainformer.finetune.tasks.tagging.crf import Posterior
from plainformer.finetune.tasks.tagging.task import Tagging
from tests.encoder.tools import randomise
from tests.explain.confidence.drawn import KNOWN
from tests.explain.confidence.models import TEXTS, TOKENIZER, normal, tasks


def test_every_task_is_calibrated_or_refused() -> None:
    has = {name for name, kind in TASKS.items() if kind.scaled is not Calibrated.scaled}
    assert has == {
        "classification",
        "multi-label",
        "multiple-choice",
        "prompt",
        "relation",
        "tagging",
    }
    assert {name_of(kind) for kind in TASKS.values() if kind.has_sets} == {
        *("classification", "prompt", "relation", "multiple-choice", "regression"),
    }


@pytest.mark.parametrize("name", ["labels", "topics", "words", "tags", "legal", "crf", "choice"])
def test_every_task_divides_its_outputs(name: str) -> None:
    task, model = tasks()[name]
    randomise(model)
    rows: list[Any] = [
        {"text": text, "options": ["a", "b", "c"][: 2 + n % 2]} for n, text in enumerate(TEXTS)
    ]
    items = [task.encode(task.read(row, labelled=False), TOKENIZER) for row in as_rows(rows)]
    batch = Batch.of(items)
    before, after = (one.outputs(model, batch) for one in (task, task.at(4.0)))
    if isinstance(task, Tagging):
        assert torch.allclose(before.chain.transitions / 4, after.chain.transitions)
        before, after = before.logits, after.logits
    there = before > -1e30  # the others are padding
    assert torch.allclose(before[there] / 4, after[there]) and before.std() > 0


@pytest.mark.parametrize("name", ["labels", "topics", "choice"])
def test_a_known_temperature_is_found_and_obeyed(
    name: str, made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    given, data = made(name)
    run = shutil.copytree(given, tmp_path / name)
    report = calibrate(run, str(data), quiet=True)
    temperature = load_task(run).calibration.temperature
    assert temperature == report.calibration.temperature == pytest.approx(KNOWN, rel=0.3)
    assert report.rows == {"fit the temperature": 300, "measure": 300}
    assert report.scaling is not None
    assert report.scaling.after.nll < report.scaling.before.nll
    assert report.scaling.changes["nll"][1] < 0
    assert report.scaling.after.accuracy == report.scaling.before.accuracy
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()[:30]]
    for one, other in zip(Predictor.load(given)(rows), Predictor.load(run)(rows), strict=True):
        p, q = (
            list(dict(a).values()) if isinstance(a, dict) else list(a)
            for a in (one.probabilities, other.probabilities)
        )
        if name == "topics":
            assert one.labels == other.labels
            odds = np.log(p) - np.log1p(-np.array(p))
            assert np.allclose(q, 1 / (1 + np.exp(-odds / temperature)), atol=1e-5)
        else:
            assert np.allclose(q, normal(np.array(p) ** (1 / temperature)), atol=1e-5)
    if name == "labels":  # again from the start, not on top of the first
        again = calibrate(run, str(data), quiet=True)
        assert again.calibration.temperature == pytest.approx(temperature)


@pytest.mark.parametrize("name", ["tags", "legal", "crf"])
def test_the_temperature_of_a_tagger_is_that_of_what_it_says_of_words(
    name: str, made: Callable[[str], tuple[Path, Path]]
) -> None:
    run, data = made(name)
    predictor = Predictor.load(run)
    task = predictor.task
    examples = [task.read(row) for row in task.rows(data)][:60]
    answered = Answered.of(predictor, examples)
    found = fit_temperature(answered)

    def loss(log_t: float) -> float:
        total = 0.0
        for _, batch, outputs in answered.batches:
            x = outputs.logits.double()
            hot = replace(outputs, logits=x, chain=outputs.chain.like(x))
            hot = task.scaled(hot, float(np.exp(log_t)))
            logs = Posterior.of(hot.chain, hot.logits, hot.sentences).log_marginals()
            total -= float(logs.gather(1, batch.targets[hot.places][:, None]).sum())
        return total

    least = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert np.log(found) == pytest.approx(least.x, abs=1e-5)
    words = sum(len(example.words) for example in examples)
    p = answered.probabilities(found)
    assert p.shape == (words, 3) and np.allclose(p.sum(1), 1, atol=1e-6)
    predictions = answered.predictions(task.at(found))
    said = np.concatenate([prediction.scores for prediction in predictions])
    tags = [task.labels.index(tag) for prediction in predictions for tag in prediction.tags]
    assert np.allclose(p[np.arange(words), tags], said, atol=1e-6)
    right = [a.tags == b.tags for a, b in zip(answered.examples, predictions, strict=True)]
    assert answered.right(predictions).tolist() == right
