"""Self-training: which texts are chosen, what a round is, and runs that are stopped."""

import json
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from plainformer.base import UserError, as_json, from_json, write_text
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    SentenceEmbeddingOptions,
    UnlabelledOptions,
    finetune,
)
from plainformer.finetune.data.unlabelled import new_texts, read_unlabelled
from plainformer.finetune.few_labels import confident
from plainformer.finetune.few_labels.saved import saved_examples
from plainformer.finetune.tasks.classification import (
    ClassExample,
    Classification,
    ClassPrediction,
)
from tests.finetune.few_labels.conftest import TRAINING
from tests.finetune.test_pseudo_labels import CASES

WEIGHTS = "model.safetensors"
TASK = Classification(labels=("a", "b"), max_length=8)


def example(text: str, label: str | None = None) -> ClassExample:
    return ClassExample(text=text, label=label, source=f"{text}:1")


def test_the_surest_of_each_label_are_kept() -> None:
    said = [("a", 0.95), ("b", 0.9), ("a", 0.89), ("a", 0.99), ("b", 0.5), ("a", 0.91)]
    pairs = [
        (example(str(n)), ClassPrediction(label, {label: p})) for n, (label, p) in enumerate(said)
    ]

    def kept(confidence: float, per_label: int = 0) -> list[tuple[str, str | None]]:
        return [(e.text, e.label) for e in confident(TASK, pairs, confidence, per_label)]

    assert kept(0.9) == [("3", "a"), ("0", "a"), ("5", "a"), ("1", "b")]
    assert kept(0.9, 1) == [("3", "a"), ("1", "b")]
    assert kept(0.0, 2) == [("3", "a"), ("0", "a"), ("1", "b"), ("4", "b")]
    assert kept(1.0) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_a_text_of_any_task_is_labelled_saved_and_read(case: Any, tmp_path: Path) -> None:
    task, unlabelled, said, *_ = case
    (labelled,) = confident(task, [(unlabelled, said)], 0.0)
    assert labelled == task.pseudo_label(unlabelled, said) != unlabelled
    path = tmp_path / "examples.json"
    assert saved_examples(path, type(labelled), lambda: [labelled]) == [labelled]
    assert saved_examples(path, type(labelled), lambda: pytest.fail("made again")) == [labelled]
    assert from_json(type(labelled), as_json(asdict(labelled))) == labelled


def test_no_validation_text_is_learned_from() -> None:
    valid, train = [example("The cat.", "a")], [example("a dog", "b")]
    texts = ["a hen", "the  CAT", "A dog!", "a hen.", " ", "the cat sat"]
    found, remark = new_texts([example(text) for text in texts], train, valid)
    assert [e.text for e in found] == ["a hen", "the cat sat"]
    assert remark == (
        "2 unlabelled texts; left out: 1 of the validation examples, 3 blank, repeated or of the "
        "training examples"
    )
    with pytest.raises(UserError, match="nothing new to learn from"):
        new_texts([example("the cat"), example("A DOG")], train, valid)


def config(models, few, out: Path, **changes) -> FinetuneConfig:
    given = {
        "model": models["bert"],
        "train": few["train"],
        "valid": few["valid"],
        "out": out,
        "epochs": 3.0,
        "batch_size": 8,
        "max_length": 32,
        "training": TRAINING,
        "unlabelled": UnlabelledOptions(few["texts"], 2, 0.5, unlabelled_per_label=8),
    }
    return FinetuneConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def rounds(models, few, tmp_path_factory) -> tuple[FinetuneConfig, Any]:
    run = config(models, few, tmp_path_factory.mktemp("rounds") / "run")
    return run, finetune(run, quiet=True)


def test_a_round_is_a_run_on_the_labelled_and_the_labels_of_the_round_before(
    models, few, rounds, tmp_path
) -> None:
    run, outcome = rounds
    before = Predictor.load(run.out / "round-0")
    unlabelled = read_unlabelled(Classification, few["texts"])[32:]  # the others are known
    said = before([e.text for e in unlabelled])
    sure = []
    for label in ("tame", "wild"):
        some = [
            (p.confidence, e, p) for e, p in zip(unlabelled, said, strict=True) if p.label == label
        ]
        sure += sorted(some, key=lambda entry: -entry[0])[:8]
    sure.sort(key=lambda entry: -entry[0])
    lines = "".join(f"{e.text}\t{p.label}\n" for _, e, p in sure)
    assert 8 <= len(sure) <= 16
    write_text(tmp_path / "both.tsv", Path(few["train"]).read_text() + lines)
    alone = replace(
        run,
        train=str(tmp_path / "both.tsv"),
        out=tmp_path / "alone",
        unlabelled=UnlabelledOptions(),
    )
    finetune(alone, quiet=True)
    assert (alone.out / WEIGHTS).read_bytes() == (run.out / "round-1" / WEIGHTS).read_bytes()
    (table,) = outcome.tables
    assert table.columns[:3] == ("stage", "examples", "accuracy")
    assert [row[:2] for row in table.rows[:2]] == [("round-0", 16), ("round-1", 16 + len(sure))]


def test_the_best_round_is_kept(rounds) -> None:
    run, outcome = rounds
    (table,) = outcome.tables
    best = max(table.rows, key=lambda row: row[2])
    assert outcome.score == best[2]
    assert (run.out / WEIGHTS).read_bytes() == (run.out / best[0] / WEIGHTS).read_bytes()
    assert json.loads((run.out / "options.json").read_text())["unlabelled"]["rounds"] == 2
    assert not list(run.out.rglob("checkpoints"))


def test_stopped_rounds_go_on_where_they_were(rounds, tmp_path, monkeypatch) -> None:
    """Stopped in the second round: the finished ones are not trained again."""
    run, outcome = rounds
    again, left, loss = replace(run, out=tmp_path / "again"), [6 + 5], Classification.loss

    def counted(task: Any, outputs: Any, batch: Any) -> Any:
        left[0] -= outputs.requires_grad
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(task, outputs, batch)

    monkeypatch.setattr(Classification, "loss", counted)
    with pytest.raises(KeyboardInterrupt):
        finetune(again, quiet=True)
    assert not (again.out / "round-1" / WEIGHTS).exists()
    labels = (again.out / "pseudo-labels-1.json").read_bytes()
    other = replace(again, unlabelled=replace(again.unlabelled, rounds=9))
    for resume, fault in ((False, "already holds a run"), (True, "rounds=2, not 9")):
        with pytest.raises(UserError, match=fault):
            finetune(replace(other, resume=resume), quiet=True)
    begun = left[0]
    assert finetune(replace(again, resume=True), quiet=True).tables == outcome.tables
    assert (again.out / "pseudo-labels-1.json").read_bytes() == labels
    for name in ("round-0", "round-1", "round-2", "."):
        ours, theirs = (folder / name / WEIGHTS for folder in (again.out, run.out))
        assert ours.read_bytes() == theirs.read_bytes(), name
    trained = left[0]
    assert finetune(replace(again, resume=True), quiet=True).tables == outcome.tables
    assert trained < begun and left[0] == trained, "nothing is left to train"


def test_faults_are_named_before_any_work(models, few, tmp_path) -> None:
    def fault(**changes: Any) -> str:
        run = config(models, few, tmp_path / "run", **changes)
        with pytest.raises(UserError) as caught:
            finetune(run, quiet=True)
        assert not list(tmp_path.rglob(WEIGHTS))
        return str(caught.value)

    empty = tmp_path / "empty.txt"
    write_text(empty, "\n\n")
    options = UnlabelledOptions(str(empty))
    assert fault(unlabelled=options) == f"{empty}: there are no unlabelled texts in it"
    known = UnlabelledOptions(few["valid"])
    assert "nothing new to learn from" in fault(unlabelled=known)
    pairs = tmp_path / "pairs.tsv"
    write_text(pairs, "text\tpair\nthe cat\tthe dog\nthe hen\tthe owl\n")
    vectors = {"task": SentenceEmbeddingOptions(), "train": str(pairs), "valid": str(pairs)}
    assert fault(**vectors).startswith("sentence-embedding predicts no label here")
    with pytest.raises(UserError, match="confidence is for self-training: give unlabelled texts"):
        UnlabelledOptions(confidence=0.8)
    with pytest.raises(UserError, match="epochs must be above 0"):
        config(models, few, tmp_path / "run", epochs=0.0)


def test_without_sure_labels_no_round_follows(models, few, tmp_path, capsys) -> None:
    options = UnlabelledOptions(few["texts"], confidence=1.0)
    run = config(models, few, tmp_path / "run", unlabelled=options, epochs=0.5)
    (table,) = finetune(run).tables
    assert [row[0] for row in table.rows] == ["round-0"]
    assert "no label has a probability of 1: no round follows" in capsys.readouterr().err
