"""Classification: the loss of transformers, the scores of scikit-learn, windows pooled."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from plainformer.base.figures import as_svg, save_png
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import ClassificationOptions, FinetuneConfig
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics import ClassMetric
from plainformer.finetune.report.figures import figures
from plainformer.finetune.tasks.classification import ClassExample, Classification
from tests.pretrain import tiny

LABELS = ("a", "b", "c", "d", "e")
ANIMALS = ("bird", "beast", "fish")


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "cls"), ("modern", "mean")])
def test_loss_equals_that_of_transformers(tokenizer, models, architecture, pooling, tmp_path):
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    model = SequenceClassifier.from_pretrained(
        models[architecture], labels=ANIMALS, pooling=pooling
    )
    model.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    texts = [(text, None) for text in [*tiny.sentences(6), "the ."]]
    if architecture == "bert":
        texts.append(("the cat .", "the dog hunts ."))
    task = Classification(labels=ANIMALS, max_length=24)
    examples = [
        ClassExample(text=text, pair=pair, label=ANIMALS[i % 3], source="f:1")
        for i, (text, pair) in enumerate(texts)
    ]
    batch = Batch.of([task.encode(example, tokenizer) for example in examples])

    pad = batch.sequences.pad
    types = {"token_type_ids": pad(batch.token_type_ids)} if architecture == "bert" else {}
    wanted = theirs(
        input_ids=pad(batch.input_ids),
        attention_mask=pad(torch.ones_like(batch.input_ids)),
        labels=batch.targets,
        **types,
    )
    loss = task.loss(task.outputs(model, batch), batch)
    assert loss.items == len(texts)
    assert loss.total.item() == pytest.approx(wanted.loss.item() * loss.items, rel=1e-5)
    right = (wanted.logits.argmax(-1) == batch.targets).sum()
    assert int(loss.metrics["accuracy"]) == int(right)
    probabilities = batch.in_order(wanted.logits).softmax(-1).tolist()
    with torch.no_grad():
        predictions = task.predict(task.outputs(model, batch), batch)
    for row, said in zip(probabilities, predictions, strict=True):
        assert [said.probabilities[a] for a in ANIMALS] == pytest.approx(row, abs=1e-5)


def test_windows_are_pooled(tokenizer, models):
    """The answer of a long text is that of its windows' mean logits; a short one's is its own."""
    torch.manual_seed(3)
    model = SequenceClassifier.from_pretrained(models["bert"], labels=ANIMALS)
    task = Classification(labels=ANIMALS, max_length=16, overflow="windows")
    texts = [" ".join(tiny.sentences(4)), "the cat ."]
    items = [
        task.encode(ClassExample(text=t, label="bird", source="f:1"), tokenizer) for t in texts
    ]
    batch = Batch.of(items)
    with torch.no_grad():
        said = task.predict(task.outputs(model, batch), batch)
    for item, prediction in zip(items, said, strict=True):
        ids = [torch.tensor([window.ids]) for window in item.encodings]
        logits = torch.stack([model(i)[0] for i in ids]).mean(0)
        wanted = logits.softmax(-1).tolist()
        assert [prediction.probabilities[a] for a in ANIMALS] == pytest.approx(wanted, abs=1e-5)


def metric_of(labels, true, predicted, probabilities=None) -> ClassMetric:
    metric = ClassMetric(labels)
    for row, (t, p) in enumerate(zip(true, predicted, strict=True)):
        values = np.eye(len(labels))[p] if probabilities is None else probabilities[row]
        named = dict(zip(labels, map(float, values), strict=True))
        metric.add(labels[t], labels[p], named, f"f:{row}")
    return metric


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(pairs)
def test_scores_equal_scikit_learn(rows):
    """Also for labels that never occur, are never predicted, or neither."""
    true, predicted = np.array(rows, np.int64).T
    metric = metric_of(LABELS, true, predicted)
    numbers = list(range(5))
    assert np.array_equal(metric.confusion, confusion_matrix(true, predicted, labels=numbers))
    scores = metric.scores()
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    wanted = precision_recall_fscore_support(true, predicted, labels=numbers, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
        assert [row[name] for row in metric.per_label.values()] == pytest.approx(list(values))
    # scikit-learn, too, averages over the labels that it sees, unless it is told others.
    for average in ("macro", "weighted"):
        theirs = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(theirs[2])
    assert scores["macro_f1"] == pytest.approx(
        f1_score(true, predicted, average="macro", zero_division=0)
    )
    assert scores["macro_precision"] == pytest.approx(
        precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)[0]
    )
    again = json.loads(json.dumps(metric.to_json()))
    assert again["confusion"] == metric.confusion.tolist() and again["labels"] == list(LABELS)
    assert again["examples"] == len(rows)


def test_area_and_calibration_equal_their_definitions():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 500)
    probabilities = rng.dirichlet([1, 1, 1], 500)
    probabilities[np.arange(500), true] += 0.4
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    scores = metric_of(("a", "b", "c"), true, predicted, probabilities).scores()
    wanted = roc_auc_score(true, probabilities, multi_class="ovr")
    assert scores["macro_auc"] == pytest.approx(wanted, abs=1e-3)
    top = probabilities.max(1)
    gap = 0.0
    for low in np.arange(15) / 15:
        inside = (top >= low) & (top < low + 1 / 15)
        if inside.any():
            gap += inside.mean() * abs(top[inside].mean() - (predicted == true)[inside].mean())
    assert scores["calibration_error"] == pytest.approx(gap)


def test_the_surest_mistakes_are_kept():
    rows = np.linspace(0.51, 0.99, 60)
    metric = metric_of(("a", "b"), [0] * 60, [1] * 60, np.stack([1 - rows, rows], 1))
    found = [mistake.score for mistake in metric.mistakes]
    assert found == pytest.approx(sorted(rows, reverse=True)[:20])
    assert metric.mistakes[0].source == "f:59"
    assert (metric.mistakes[0].true, metric.mistakes[0].predicted) == ("a", "b")


@pytest.mark.parametrize(
    "labels",
    [("yes", "no"), ("$x_{", "a$b$c", "_^\\"), tuple(f"label {i}" for i in range(120))],
    ids=["two", "formulas", "many"],
)
@pytest.mark.parametrize("name", ["confusion", "roc", "calibration"])
def test_pictures_are_drawn(labels, name, tmp_path):
    numbers = np.arange(len(labels))
    figure = figures(metric_of(labels, numbers, numbers[::-1]))[name]
    save_png(figure, tmp_path / "deep" / "picture.png")
    picture = (tmp_path / "deep" / "picture.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width = int.from_bytes(picture[16:20])
    assert 300 < width < 4000
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["picture.png"]
    assert as_svg(figure).startswith("<svg")


def test_a_label_that_all_texts_have_has_no_area():
    metric = metric_of(("a", "b"), [0, 0], [0, 1])
    assert all(math.isnan(row["auc"]) for row in metric.per_label.values())
    assert math.isnan(metric.scores()["macro_auc"])


def test_every_curve_is_in_the_legend_and_an_undefined_area_is_a_dash():
    (axes,) = figures(metric_of(("_a", "b"), [0, 0], [0, 1]))["roc"].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["_a (–)", "b (–)"]


@pytest.mark.parametrize(
    ("declared", "asked", "expected"),
    [
        (None, "declared", "cls"),
        ("mean", "declared", "mean"),
        ("cls", "declared", "cls"),
        ("mean", "cls", "cls"),
        ("cls", "mean", "mean"),
    ],
)
def test_the_pooling_that_a_folder_declares_is_kept(models, declared, asked, expected, tmp_path):
    """As ModernBERT's folders declare it; unless another is asked for."""
    shutil.copytree(models["modern"], tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    said = {} if declared is None else {"classifier_pooling": declared}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    config = FinetuneConfig(
        tmp_path / "model", "t", tmp_path, task=ClassificationOptions(pooling=asked)
    )
    model = Classification(labels=ANIMALS, max_length=32).build(config)
    assert model.pooling == expected
