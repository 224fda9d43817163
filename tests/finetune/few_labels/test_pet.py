"""PET: the ensemble and the loss by their formulas, and a classifier that needs no template."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    PromptOptions,
    UnlabelledOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.few_labels import SoftClassification, SoftExample, ensemble
from plainformer.finetune.task_file import load_task
from plainformer.finetune.task_objective import task_objective
from plainformer.finetune.tasks.classification import Classification
from tests.finetune import gradients
from tests.finetune.few_labels.conftest import TRAINING
from tests.finetune.gradients import LABELS, TASK, TOKENIZER
from tests.pretrain import tiny


def test_the_ensemble_averages_logits_by_the_weights() -> None:
    logits = torch.randn(3, 5, len(LABELS), generator=torch.Generator().manual_seed(0)).double()
    said = [TASK.predict(model, gradients.batch_of(count=5)) for model in logits]
    for weights in ((0.2, 0.5, 0.1), (0.0, 0.0, 1.0)):
        shares = torch.tensor(weights).double() / sum(weights)
        mean = torch.einsum("m,mtl->tl", shares, logits)
        ours = torch.from_numpy(ensemble(LABELS, said, weights))
        for temperature in (1, 2):
            p, q = ((x / temperature).softmax(-1) for x in (ours, mean))
            torch.testing.assert_close(p, q, rtol=1e-7, atol=1e-7)
    equal = ensemble(LABELS, said, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(equal, ensemble(LABELS, said, (0.3, 0.3, 0.3)))


def test_the_loss_is_that_of_soft_targets_at_temperature_2() -> None:
    task = SoftClassification(labels=LABELS, max_length=16)
    scores = torch.randn(3, len(LABELS), generator=torch.Generator().manual_seed(1))
    examples = [
        SoftExample(text=t, label="a", source="f:1", scores=tuple(row.tolist()))
        for t, row in zip(("the cat", *tiny.sentences(2)), scores, strict=True)
    ]
    batch = Batch.of([task.encode(example, TOKENIZER) for example in examples])
    model = gradients.classifier()
    ours = gradients.gradients(model, task_objective(task), batch)
    logs = (task.outputs(model, batch) / 2).log_softmax(-1)
    wanted: Tensor = 4 * kl_div(logs, (scores / 2).softmax(-1), reduction="sum")
    gradients.assert_same(ours, gradients.of_tensor(model, wanted))


def test_labelled_examples_have_the_loss_of_the_task() -> None:
    task = SoftClassification(labels=LABELS, max_length=16)
    model, batch = gradients.classifier(), gradients.batch_of()
    plain = gradients.gradients(model, task_objective(TASK), batch)
    gradients.assert_same(gradients.gradients(model, task_objective(task), batch), plain)


def config(models, few, out: Path, **changes: Any) -> FinetuneConfig:
    options = {
        "verbaliser": "the=wild,.=tame",
        "templates": ("{text} [MASK]", "[MASK] : {text}"),
        **changes,
    }
    return FinetuneConfig(
        model=models["bert"],
        train=few["train"],
        valid=few["valid"],
        out=out,
        task=PromptOptions(**options),
        epochs=4.0,
        batch_size=8,
        max_length=32,
        training=TRAINING,
        unlabelled=UnlabelledOptions(few["texts"]),
    )


def test_templates_teach_a_classifier(models, few, tmp_path) -> None:
    run = config(models, few, tmp_path / "run")
    outcome = finetune(run, quiet=True)
    (table,) = outcome.tables
    names = ["template-1", "template-2", "classifier"]
    assert [row[:2] for row in table.rows] == list(zip(names, (16, 16, 32), strict=True))
    assert outcome.score == table.rows[-1][2]
    task = load_task(run.out)
    assert type(task) is Classification and task.labels == ("wild", "tame")
    assert isinstance(task.load(run.out), SequenceClassifier)
    found = evaluate_folder(run.out, few["valid"], quiet=True).metric.scores()
    assert found == pytest.approx(outcome.metric.scores())

    soft = json.loads((run.out / "soft-labels.json").read_text())
    models_ = [Predictor.load(run.out / name) for name in names[:2]]
    assert [m.task.template for m in models_] == list(run.task.templates)
    said = [m([entry["text"] for entry in soft]) for m in models_]
    assert soft[0]["label"] == task.labels[int(np.argmax(soft[0]["scores"]))]
    logs = [[[np.log(p.probabilities[n]) for n in task.labels] for p in some] for some in said]
    first, second = np.array(logs)  # the mean lies between, by the same share for all texts
    share = (np.array([e["scores"] for e in soft]) - second) / (first - second)
    assert np.ptp(share) < 1e-3 and 0 <= share.mean() <= 1


def test_faults_are_named(models, few, tmp_path) -> None:
    run = config(models, few, tmp_path / "run")
    with pytest.raises(UserError, match="give unlabelled, or a single template"):
        replace(run, unlabelled=UnlabelledOptions())
    pair = config(
        models, few, tmp_path / "run", templates=("{text} [MASK]", "{text} {pair} [MASK]")
    )
    with pytest.raises(UserError, match="a row has no pair"):
        finetune(pair, quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="in one round, without rounds"):
        replace(run, unlabelled=UnlabelledOptions(few["texts"], rounds=3))
    with pytest.raises(UserError, match=re.escape("the template 'x' should have {text}")):
        config(models, few, tmp_path / "run", templates=("{text} [MASK]", "x"))
