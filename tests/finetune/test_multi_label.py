"""Several labels a text: loss and scores of others, labels in any form, a folder for others."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from plainformer.base import UserError, write_text
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import (
    FinetuneConfig,
    MultiLabelOptions,
    Predictor,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics import LabelsMetric
from plainformer.finetune.tasks.multi_label import LabelsExample, LabelsPrediction, MultiLabel
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.pictures import pictures
from tests.pretrain import tiny

NAMES = ("a", "b", "c", "d")


def labels_of(row) -> tuple[str, ...]:
    return tuple(name for name, is_true in zip(NAMES, row, strict=True) if is_true)


def example(*labels: str, text: str = "t") -> LabelsExample:
    return LabelsExample(text=text, labels=labels, source="f.jsonl:1")


def test_loss_and_gradient_are_those_of_transformers(tokenizer, models, tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    ours = SequenceClassifier.from_pretrained(
        models["bert"], labels=NAMES, problem_type="multi_label_classification"
    )
    ours.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.problem_type == "multi_label_classification"
    task = MultiLabel(labels=NAMES, max_length=64)
    rows = np.random.default_rng(0).random((6, 4)) < 0.4
    texts = tiny.sentences(6)
    examples = [example(*labels_of(r), text=t) for r, t in zip(rows, texts, strict=True)]
    batch = Batch.of([task.encode(e, tokenizer) for e in examples])
    loss = task.loss(task.outputs(ours, batch), batch)
    assert loss.items == 6

    wanted = theirs(
        input_ids=batch.sequences.pad(batch.input_ids),
        attention_mask=batch.sequences.pad(torch.ones_like(batch.input_ids)),
        token_type_ids=batch.sequences.pad(batch.token_type_ids),
        labels=batch.targets,
    )
    assert loss.total.item() / loss.items == pytest.approx(wanted.loss.item(), rel=1e-5)
    (loss.total / loss.items).backward()
    wanted.loss.backward()
    torch.testing.assert_close(
        ours.classifier.weight.grad, theirs.classifier.weight.grad, rtol=1e-4, atol=1e-7
    )
    probabilities = batch.in_order(wanted.logits).sigmoid().tolist()
    for row, said in zip(
        probabilities, task.predict(batch.in_order(wanted.logits), batch), strict=True
    ):
        assert [said.probabilities[name] for name in NAMES] == pytest.approx(row)
        assert set(said.labels) == {n for n, p in zip(NAMES, row, strict=True) if p >= 0.5}


def test_windows_share_the_labels_and_their_logits_are_pooled(tokenizer, models) -> None:
    model = SequenceClassifier.from_pretrained(models["bert"], labels=NAMES)
    task = MultiLabel(labels=NAMES, max_length=12, overflow="windows")
    long = task.encode(example("b", "d", text=" ".join(tiny.sentences(4))), tokenizer)
    assert len(long.encodings) > 1
    short = task.encode(example("a"), tokenizer)
    batch = Batch.of([long, short])
    with torch.no_grad():
        loss = task.loss(task.outputs(model, batch), batch)
        logits = torch.stack(
            [
                torch.stack([model(torch.tensor([e.ids]))[0] for e in item.encodings]).mean(0)
                for item in (long, short)
            ]
        )
    truth = torch.tensor([[0.0, 1, 0, 1], [1, 0, 0, 0]])
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    assert loss.total.item() / loss.items == pytest.approx(wanted.item(), rel=1e-5)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(*[st.tuples(st.booleans(), st.integers(0, 9))] * len(NAMES)),
        min_size=1,
        max_size=30,
    )
)
def test_scores_equal_scikit_learn(rows) -> None:
    """Also for labels that no text has, or all have, and texts without labels."""
    truth = np.array([[is_true for is_true, _ in row] for row in rows])
    probabilities = np.array([[(step + 0.5) / 10 for _, step in row] for row in rows])
    said = probabilities >= 0.5
    metric = LabelsMetric(NAMES)
    for true, given_, p in zip(truth, said, probabilities, strict=True):
        named = dict(zip(NAMES, p.tolist(), strict=True))
        metric.add(labels_of(true), labels_of(given_), named)

    scores = metric.scores()
    assert next(iter(scores)) == "micro_f1"
    for average in ("micro", "macro"):
        theirs = precision_recall_fscore_support(truth, said, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert scores[f"{average}_{name}"] == pytest.approx(value)
    assert scores["exact_match"] == pytest.approx(accuracy_score(truth, said))
    theirs = precision_recall_fscore_support(truth, said, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        assert [row[name] for row in metric.per_label.values()] == pytest.approx(list(values))
    areas = []
    for column, row in enumerate(metric.per_label.values()):
        if len(set(truth[:, column])) == 1:
            assert math.isnan(row["auc"])
        else:
            areas.append(roc_auc_score(truth[:, column], probabilities[:, column]))
            assert row["auc"] == pytest.approx(areas[-1])
    assert scores["macro_auc"] == pytest.approx(np.mean(areas) if areas else math.nan, nan_ok=True)
    assert len(metric.mistakes) == min(20, int((truth != said).any(1).sum()))


def test_a_mistake_is_as_sure_as_its_worst_decision() -> None:
    metric = LabelsMetric(("a", "b", "c"))
    metric.add(("a",), ("b",), {"a": 0.3, "b": 0.9, "c": 0.01})
    metric.add((), ("c",), {"c": 0.6, "a": 0.4, "b": 0.1})
    metric.add(("a",), (), {"a": 0.2, "b": 0.1, "c": 0.1})
    first, missed, second = metric.mistakes
    assert (first.true, first.predicted, first.score) == ("a", "b", 0.9)
    assert (missed.true, missed.predicted, missed.score) == ("a", "–", 0.8)
    assert (second.true, second.predicted, second.score) == ("–", "c", 0.6)


def read(folder: Path, name: str, content: str) -> list[LabelsExample]:
    path = folder / name
    write_text(path, content)
    return list(read_examples(MultiLabel, str(path), "train"))


def test_labels_in_any_form(tmp_path) -> None:
    rows = [["a", "b b"], [], ["b|c,d"], [1, 3], ["a", "a"]]
    lines = "".join(json.dumps({"text": "t", "labels": r}) + "\n" for r in rows)
    found = read(tmp_path, "f.jsonl", lines + '{"text": "t", "labels": "a|b"}\n')
    assert [e.labels for e in found] == [
        ("a", "b b"), (), ("b|c,d",), ("1", "3"), ("a",), ("a", "b"),
    ]  # fmt: skip
    for name, mark in (("f.csv", ","), ("f.tsv", "\t")):
        table = [f"text{mark}labels", f"t{mark}a|b c | d", f"t{mark}[]", f"t{mark}news"]
        found = read(tmp_path, name, "\n".join(table))
        assert [e.labels for e in found] == [("a", "b c", "d"), (), ("news",)]
    (quoted, tail) = read(tmp_path, "g.csv", 'text,labels\nt,"a, b"\nt,"big, red|"\n')
    assert (quoted.labels, tail.labels) == (("a", "b"), ("big, red",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "t", "label": "a"}', "no column 'labels'; columns: text, label"),
        ('{"text": "t", "labels": null}', "no value in column 'labels'"),
        ('{"text": "t", "labels": {"a": 1}}', "is no list of labels: {'a': 1}"),
        ('{"text": "t", "labels": ["a", ["b"]]}', "is no list of labels"),
        ('{"text": "t", "labels": ["a", null]}', "is no list of labels"),
        ('{"text": "t", "labels": ["a", " "]}', "a label is empty"),
        ('{"text": " ", "labels": ["a"]}', "the text is empty"),
    ],
)
def test_a_row_that_is_no_example(tmp_path, line, message) -> None:
    with pytest.raises(UserError, match=r"f\.jsonl:2: ") as caught:
        read(tmp_path, "f.jsonl", '{"text": "t", "labels": ["a"]}\n' + line + "\n")
    assert message in str(caught.value)


def config(**changes) -> FinetuneConfig:
    paths = {"model": Path("m"), "train": "t", "valid": "v", "out": Path("o"), "max_length": 32}
    return config_of(MultiLabelOptions, **{**paths, **changes})


def test_what_there_is_to_learn() -> None:
    some = [example("b", "a"), example(), example("b")]
    task = MultiLabel.fit(config(balance="weights"), some)
    assert task.labels == ("a", "b")
    assert task.weights == (2.0, 0.5)
    assert MultiLabel.fit(config(balance="focal"), some).gamma == 2
    assert MultiLabel.fit(config(), [example("a"), example()]).labels == ("a",)
    always = MultiLabel.fit(config(balance="weights"), [example("a"), example("a", "b")])
    assert min(always.weights) > 0, "a label that every text has is learned, too"
    with pytest.raises(UserError, match=r"f\.jsonl: every example has no label"):
        MultiLabel.fit(config(), [example(), example()])
    with pytest.raises(UserError, match=r"f\.jsonl: every example has the labels a, b"):
        MultiLabel.fit(config(), [example("a", "b"), example("b", "a")])


def test_a_label_that_training_has_not_seen(tokenizer) -> None:
    task = MultiLabel(labels=("a", "b"), max_length=8)
    with pytest.raises(UserError, match=r"f\.jsonl:1: the label 'z' is not among .* a, b"):
        task.encode(example("a", "z"), tokenizer)


def test_each_label_has_the_threshold_that_suits_it() -> None:
    task = MultiLabel(labels=("a", "b"), max_length=8)
    results = [
        (example(*labels), LabelsPrediction((), {"a": a, "b": b}))
        for labels, a, b in [("a", 0.2, 0.9), ("ab", 0.3, 0.95), ("", 0.1, 0.8)]
    ]
    tuned = task.tune(results)
    assert tuned.thresholds == pytest.approx((0.15, 0.925))
    row = np.array([0.2, 0.9], np.float32)
    assert tuned._prediction(row).labels == ("a",)
    assert task._prediction(row).labels == ("b",)
    assert tuned._prediction(np.array([0.2, 0.94], np.float32)).labels == ("b", "a")


def write(path: Path, count: int, seed: int) -> str:
    """Two questions of each sentence: has the animal wings, is the colour light?"""
    with path.open("w") as file:
        for text in tiny.sentences(count, seed):
            _, colour, animal, *_ = text.split()
            labels = ["wings"] * (animal in ("hen", "owl", "bee", "ant"))
            labels += ["light"] * (colour in ("red", "green", "white", "pink"))
            file.write(json.dumps({"text": text, "labels": labels}) + "\n")
    return str(path)


def test_from_rows_to_a_folder_that_transformers_opens(models, tokenizer, tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification

    run = tmp_path / "run"
    test = write(tmp_path / "test.jsonl", 40, 2)
    with pictures():
        outcome = finetune(
            config(
                model=models["modern"],
                train=write(tmp_path / "train.jsonl", 200, 0),
                valid=write(tmp_path / "valid.jsonl", 40, 1),
                out=run,
                epochs=6,
                batch_size=16,
                max_length=24,
                training=LoopConfig(learning_rate=3e-3, eval_every=0, checkpoint_every=0),
            ),
            quiet=True,
        )
    assert outcome.score > 0.95
    assert outcome.result is not None
    assert outcome.result.best["micro_f1"] == outcome.score, "thresholds are tuned in training, too"
    evaluation = evaluate_folder(run, test, quiet=True)
    assert evaluation.metric.scores()["micro_f1"] > 0.9
    assert {path.name for path in run.glob("*.png")} == {"roc.png", "curve.png"}
    saved = json.loads((run / "metrics.json").read_text())["valid"]
    assert set(saved["per_label"]) == {"light", "wings"}

    predictor = Predictor.load(run)
    assert len(predictor.task.thresholds) == 2
    texts = ["the red owl grabs the red mice .", "the blue cat eats the blue fish ."]
    both, neither = predictor(texts)
    assert set(both.labels) == {"light", "wings"} and neither.labels == ()
    theirs = AutoModelForSequenceClassification.from_pretrained(run).eval()
    assert theirs.config.problem_type == "multi_label_classification"
    assert theirs.config.id2label == {0: "light", 1: "wings"}
    with torch.no_grad():
        logits = theirs(torch.tensor([tokenizer.encode(texts[0]).ids])).logits[0]
    said = [both.probabilities[name] for name in ("light", "wings")]
    assert said == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)
