"""Contrastive classification: the pairs, the head by scikit-learn, and what opens the folder."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from plainformer.base import UserError
from plainformer.finetune import (
    ClassificationOptions,
    Embedder,
    FinetuneConfig,
    Predictor,
    RobustOptions,
    SentenceEmbeddingOptions,
    TuningOptions,
    evaluate_folder,
    finetune,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.few_labels import contrastive_pairs
from plainformer.finetune.few_labels.contrastive import (
    pairs_of,
    with_classifier,
    without_classifier,
)
from plainformer.finetune.label_order import with_label_order
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from tests.finetune.few_labels.conftest import TRAINING
from tests.finetune.gradients import LABELS, TASK, TOKENIZER, items
from tests.finetune.sentence_folders.reference import close, theirs
from tests.pretrain import tiny


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.integers(1, 3), st.integers(0, 9))
def test_each_round_pairs_each_text_with_one_of_each_kind(targets, rounds, seed) -> None:
    pairs = contrastive_pairs(targets, rounds, seed)
    for a, b, similarity in pairs:
        assert a != b and similarity == float(targets[a] == targets[b])
    counts = Counter((a, similarity) for a, _, similarity in pairs)
    for index, label in enumerate(targets):
        assert counts[index, 1.0] == rounds * (targets.count(label) > 1)
        assert counts[index, 0.0] == rounds * (targets.count(label) < len(targets))
    assert pairs == contrastive_pairs(targets, rounds, seed)


def test_the_loss_of_a_pair_is_the_squared_error_of_the_cosine() -> None:
    texts = items(count=6)
    pairs = pairs_of(texts, rounds=2, seed=0)
    task = SentenceEmbedding(scale=(0.0, 1.0), max_length=16)
    batch = Batch.of(pairs)
    vectors = torch.randn(2 * len(pairs), 5, dtype=torch.float64)
    wanted = sum(
        (torch.cosine_similarity(a, b, dim=0) - float(pair.targets[0][0])) ** 2
        for a, b, pair in zip(vectors[::2], vectors[1::2], pairs, strict=True)
    )
    assert task.loss(vectors, batch).total.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert {float(pair.targets[0][0]) for pair in pairs} == {0.0, 1.0}


def config(models, few, out: Path, architecture: str = "bert", **changes) -> FinetuneConfig:
    given = {
        "model": models[architecture],
        "train": few["train"],
        "valid": few["valid"],
        "out": out,
        "task": ClassificationOptions(contrastive=8),
        "epochs": 1.0,
        "batch_size": 16,
        "max_length": 32,
        "training": TRAINING,
    }
    return FinetuneConfig(**{**given, **changes})


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_the_head_is_logistic_regression_on_the_vectors(
    models, few, tmp_path, architecture
) -> None:
    run = config(models, few, tmp_path / "run", architecture)
    outcome = finetune(run, quiet=True)
    assert outcome.score > 0.8 and not outcome.warnings
    assert outcome.result.steps == 16, "16 texts, 8 rounds, 2 kinds: 256 pairs"
    found = evaluate_folder(run.out, few["valid"], quiet=True).metric.scores()
    assert found == pytest.approx(outcome.metric.scores())
    # without the last layer, it is a folder of sentence vectors
    modules = json.loads((run.out / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Normalize", "3_Dense"]
    texts = tiny.sentences(30, 5)
    predictor = Predictor.load(run.out)
    said = [[p.probabilities[label] for label in predictor.task.labels] for p in predictor(texts)]
    logits = torch.from_numpy(Embedder.load(run.out)(texts))
    np.testing.assert_allclose(logits.softmax(-1).numpy(), said, atol=1e-6)
    close(logits.numpy(), theirs(run.out, texts))
    whole = Embedder.load(run.out)
    vectors = replace(whole, model=without_classifier(whole.model))(texts)
    turned = with_label_order(
        predictor.task, predictor.model, tuple(reversed(predictor.task.labels))
    )
    for one, other in zip(said, replace(predictor, task=turned)(texts), strict=True):
        found = [other.probabilities[label] for label in predictor.task.labels]
        assert found == pytest.approx(one, abs=1e-6)
    (run.out / "modules.json").write_text(json.dumps(modules[:-1]))
    vectors_of = Embedder.load(run.out)
    np.testing.assert_array_equal(vectors_of(texts), vectors)
    lines = Path(few["train"]).read_text().splitlines()[1:]
    learned, labels = zip(*(line.split("\t") for line in lines), strict=True)
    regression = LogisticRegression(tol=1e-10, max_iter=9999).fit(vectors_of(learned), labels)
    np.testing.assert_allclose(regression.predict_proba(vectors), said, atol=1e-4)


def test_a_label_that_is_never_seen_is_never_said() -> None:
    from plainformer.encoder import SentenceEncoder

    model = SentenceEncoder(tiny.shape("bert", TOKENIZER)).eval()
    task = SentenceEmbedding(scale=(0.0, 1.0), max_length=16)
    seen = [item for item in items(count=6) if int(item.targets[0][0]) != 1]
    classifier = with_classifier(model, task, seen, TASK)
    predictions = TASK.predict(TASK.outputs(classifier, batch := Batch.of(items(count=6))), batch)
    assert all(said.probabilities[LABELS[1]] < 1e-30 for said in predictions)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"task": ClassificationOptions(contrastive=1, balance="focal")}, "go with balance"),
        ({"task": ClassificationOptions(contrastive=1, overflow="windows")}, "overflow windows"),
        ({"robust": RobustOptions(mixup=0.2)}, "go with mixup"),
        ({"tuning": TuningOptions(lora=2)}, "go with lora"),
    ],
    ids=str,
)
def test_what_does_not_go_with_it_is_refused(models, few, tmp_path, changes, fault) -> None:
    with pytest.raises(UserError, match=fault):
        config(models, few, tmp_path / "run", **changes)


def test_a_folder_that_declares_more_is_refused(models, few, tmp_path) -> None:
    base = config(models, few, tmp_path / "vectors", task=SentenceEmbeddingOptions())
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("text\tpair\nthe cat\tthe dog\nthe hen\tthe owl\n")
    finetune(replace(base, train=str(pairs), valid=str(pairs), epochs=0.0), quiet=True)
    settings = base.out / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"prompts": {"query": "q: "}, "default_prompt_name": "query"}))
    run = config(models, few, tmp_path / "run", model=base.out)
    with pytest.raises(UserError, match="supports no default prompt"):
        finetune(run, quiet=True)
    assert not run.out.exists()


def test_a_folder_with_other_labels_is_refused(models, few, tmp_path) -> None:
    run = config(models, few, tmp_path / "run", epochs=0.0)
    finetune(run, quiet=True)
    task = json.loads((run.out / "task.json").read_text())
    (run.out / "task.json").write_text(json.dumps({**task, "labels": ["a", "b", "c"]}))
    with pytest.raises(UserError, match=r"modules.json says 2 outputs, and task.json 3 labels"):
        Predictor.load(run.out)
