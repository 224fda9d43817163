"""What to label next, and labels that are probably wrong: against formulas, by hand, by force."""

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy as scipy_entropy
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from plainformer.base import UserError
from plainformer.encoder import Sequences
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    finetune,
)
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.data.split import folds
from plainformer.finetune.labels import (
    check_labels,
    confident_joint,
    entropy,
    estimated_counts,
    k_center,
    margin,
    propose,
    suggestions,
    thresholds,
)
from plainformer.finetune.labels.answers import answers_of
from plainformer.finetune.labels.check import HAS, Asked, find_doubts, questions
from plainformer.finetune.labels.propose import vectors, write_proposals
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.finetune.tasks.multi_label import LabelsExample, MultiLabel
from plainformer.finetune.tasks.multiple_choice import ChoiceExample, MultipleChoice, by_item
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.tagging.crf import Chain
from plainformer.finetune.tasks.tagging.task import Tagging, WordScores
from plainformer.training import LoopConfig
from tests.finetune.sentences import sentence
from tests.pretrain import tiny

TOKENIZER = tiny.make_tokenizer()
LABELS = ("a", "b", "c")


def distributions(questions: int, answers: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(answers, 0.5), questions)


# Uncertainty


def test_entropy_is_the_mean_over_the_questions():
    p = distributions(5, 4)
    assert entropy(p) == pytest.approx(scipy_entropy(p, axis=1).mean(), rel=1e-12)
    assert entropy(np.array([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx(np.log(2) / 2)
    assert entropy(np.zeros((0, 3))) == 0


def test_margin_is_the_least_of_the_questions():
    assert margin(np.array([[0.1, 0.7, 0.2]])) == pytest.approx(0.5)
    assert margin(np.array([[0.1, 0.7, 0.2], [0.4, 0.25, 0.35]])) == pytest.approx(0.05)
    assert margin(np.array([[1.0]])) == margin(np.zeros((0, 3))) == 1


# Core-sets


def greedy_by_force(pool, centres, count):
    chosen, known = [], list(centres)
    for _ in range(count):
        rest = [i for i in range(len(pool)) if i not in [index for index, _ in chosen]]
        nearest = {i: min(float(np.linalg.norm(pool[i] - c)) for c in known) for i in rest}
        index = max(nearest, key=nearest.get)
        chosen.append((index, nearest[index]))
        known.append(pool[index])
    return chosen


def test_a_core_set_is_the_greedy_one():
    rng = np.random.default_rng(0)
    pool, centres = rng.normal(size=(12, 3)), rng.normal(size=(4, 3))
    found, wanted = k_center(pool, centres, 12), greedy_by_force(pool, centres, 12)
    assert [index for index, _ in found] == [index for index, _ in wanted]
    np.testing.assert_allclose([d for _, d in found], [d for _, d in wanted], atol=1e-7)
    assert len(k_center(pool, centres, 99)) == 12


def test_a_core_set_covers_within_twice_the_best_radius():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pool, centres = rng.normal(size=(9, 2)), rng.normal(size=(2, 2))

        def radius(some, pool=pool, centres=centres):
            return cdist(pool, np.concatenate([centres, pool[list(some)]])).min(1).max()

        best = min(radius(some) for some in combinations(range(9), 3))
        assert radius(index for index, _ in k_center(pool, centres, 3)) <= 2 * best + 1e-12


# Confident learning

CENTRES = [[0, 0], [6, 0], [0, 6], [6, 6]]
GIVEN = np.array([0, 0, 0, 1, 1, 1])
P = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.55, 0.45]])


def test_confident_learning_by_hand():
    """t = (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.7 + 0.8 + 0.45) / 3 = 0.65; neither for the last."""
    np.testing.assert_allclose(thresholds(GIVEN, P), [0.6, 0.65])
    assert confident_joint(GIVEN, P).tolist() == [[2, 1], [0, 2]]
    np.testing.assert_allclose(estimated_counts(GIVEN, P), [[2, 1], [0, 3]])
    assert suggestions(GIVEN, P).tolist() == [-1, -1, 1, -1, -1, -1]


def test_of_several_labels_above_their_thresholds_the_most_probable_counts():
    given = np.array([0, 1, 2, 2])
    p = np.array([[0.3, 0.3, 0.4], [0.1, 0.4, 0.5], [0.4, 0.1, 0.5], [0.35, 0.45, 0.2]])
    np.testing.assert_allclose(thresholds(given, p), [0.3, 0.4, 0.35])
    assert confident_joint(given, p).tolist() == [[0, 0, 1], [0, 0, 1], [0, 1, 1]]
    assert suggestions(given, p).tolist() == [2, 2, -1, 1]


def test_a_label_that_nobody_has_is_never_suggested():
    p = np.array([[0.1, 0.0, 0.9], [0.3, 0.7, 0.0]])
    assert suggestions(np.array([0, 1]), p).tolist() == [-1, -1]
    assert thresholds(np.array([0, 1]), p)[2] == np.inf


def test_planted_wrong_labels_are_found():
    """One label in twenty is another one: most of the surest doubts are those."""
    rng = np.random.default_rng(0)
    x, true = make_blobs(400, centers=CENTRES, random_state=0)
    wrong = rng.choice(400, 20, replace=False)
    given = true.copy()
    given[wrong] = (true[wrong] + rng.integers(1, 4, 20)) % 4
    p = cross_val_predict(LogisticRegression(), x, given, cv=5, method="predict_proba")
    names = ("a", "b", "c", "d")
    pairs = enumerate(zip(given.tolist(), p, strict=True))
    asked = [Asked(f"f:{n}", "t", "", label, names, row) for n, (label, row) in pairs]
    found = find_doubts(asked)
    assert found.num_labels == 400
    ranked = [int(asked.source.partition(":")[2]) for asked, _ in found.rows]
    assert len(set(ranked[:20]) & set(wrong)) >= 16
    counts = estimated_counts(given, p)
    assert 15 <= counts.sum() - counts.trace() <= 25


def test_each_label_of_several_has_thresholds_of_its_own():
    """The same probabilities, of which one label's are always higher."""
    asked = [
        Asked(f"f:{n}", "t", about, given, HAS, np.array([1 - p, p]), of_several=True)
        for about, raised in (("rare", 0.0), ("common", 0.4))
        for n, (given, p) in enumerate(((1, 0.5 + raised), (1, 0.1 + raised), (0, 0.3 + raised)))
    ]
    found = {(a.about, a.source) for a, _ in find_doubts(asked).rows}
    by_one = {("rare", a.source) for a, _ in find_doubts(asked[:3]).rows} | {
        ("common", a.source) for a, _ in find_doubts(asked[3:]).rows
    }
    assert found == by_one and found


@pytest.mark.parametrize("about", ["", "word"])
def test_classes_and_tags_may_be_called_no_and_yes(about):
    p = [(1, 0.1), (1, 0.9), (1, 0.8), (0, 0.2), (0, 0.1)]
    asked = [
        Asked(f"f:{n}", "t", about and f"{about} {n}", given, HAS, np.array([1 - yes, yes]))
        for n, (given, yes) in enumerate(p)
    ]
    found = find_doubts(asked)
    assert [one.source for one, _ in found.rows] == ["f:0"]
    assert found.table().rows == [("yes", "no", 1)]


# The probabilities of answers


def texts(count: int) -> Batch[Item]:
    return Batch.of([Item((TOKENIZER.encode(text),)) for text in tiny.sentences(count)])


def test_answers_are_those_of_the_predictions():
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    one = Classification(labels=LABELS, max_length=12)
    for p, said in zip(
        answers_of(one, outputs, texts(4)), one.predict(outputs, texts(4)), strict=True
    ):
        assert p[0] == pytest.approx([said.probabilities[label] for label in LABELS], abs=1e-6)
    many = MultiLabel(labels=LABELS, max_length=12)
    for p, said in zip(
        answers_of(many, outputs, texts(4)), many.predict(outputs, texts(4)), strict=True
    ):
        assert p[:, 1] == pytest.approx([said.probabilities[label] for label in LABELS], abs=1e-6)
        assert p.sum(1) == pytest.approx(1)


def test_each_choice_has_its_own_options():
    task = MultipleChoice(max_length=32)
    options = [("x", "y"), ("x", "y", "z")]
    batch = Batch.of([
        task.encode(ChoiceExample(text="t", options=o, right=None, source="f:1"), TOKENIZER)
        for o in options
    ])  # fmt: skip
    outputs = by_item(torch.randn(5, 1), batch)
    for p, said in zip(answers_of(task, outputs, batch), task.predict(outputs, batch), strict=True):
        assert p[0] == pytest.approx(said.probabilities, abs=1e-6)


def test_each_word_has_the_answers_of_its_tag():
    task = Tagging(labels=LABELS, decoding="each", max_length=32)
    given = [sentence(["the", "cat", "eats"], None), sentence(["the", "dog"], None)]
    batch = Batch.of([task.encode(example, TOKENIZER) for example in given])
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scores = WordScores(logits, torch.arange(5), Sequences.of([3, 2]), Chain.free(3))
    for p, said in zip(answers_of(task, scores, batch), task.predict(scores, batch), strict=True):
        assert p.max(1) == pytest.approx(said.scores, abs=1e-6)
        assert [LABELS[i] for i in p.argmax(1)] == list(said.tags)


def test_each_label_and_each_word_is_a_question():
    p = distributions(3, 2)
    many = MultiLabel(labels=LABELS, max_length=12)
    example = LabelsExample(text="t", labels=("b",), source="f:7")
    asked = list(questions(many, example, Item(()), p))
    assert [(one.about, one.answers[one.given]) for one in asked] == [
        ("a", "no"),
        ("b", "yes"),
        ("c", "no"),
    ]
    tags = Tagging(labels=("O", "B-X", "I-X"), decoding="legal", max_length=12)
    words = sentence(["the", "cat", "eats"], ["O", "B-X", "O"])
    asked = list(questions(tags, words, Item(()), distributions(2, 3)))
    assert [(one.about, one.answers[one.given]) for one in asked] == [("the", "O"), ("cat", "B-X")]


# From end to end


@pytest.fixture(scope="module")
def run(one_thread, models, files, tmp_path_factory) -> tuple[Path, Path]:
    """A run with two folds, and its training file."""
    folder = tmp_path_factory.mktemp("labels")
    train = folder / "train.tsv"
    train.write_text("\n".join(Path(files("train")).read_text().splitlines()[:81]) + "\n")
    config = FinetuneConfig(
        model=models["bert"],
        train=str(train),
        out=folder / "run",
        folds=2,
        epochs=1.0,
        batch_size=16,
        max_length=16,
        training=LoopConfig(learning_rate=1e-2, eval_every=100, checkpoint_every=0),
    )
    finetune(config, quiet=True)
    return folder / "run", train


def test_doubts_are_those_of_the_models_that_did_not_see_the_text(run, tmp_path):
    folder, train = run
    examples = list(read_examples(Classification, str(train), "train"))
    parts = np.array(folds(examples, 2, 0))
    p = np.zeros((len(examples), 2))
    for number in range(2):
        predictor = Predictor.load(folder / f"fold-{number + 1}")
        places = np.flatnonzero(parts == number)
        for place, said in zip(places, predictor([examples[i].text for i in places]), strict=True):
            p[place] = [said.probabilities[label] for label in ("beast", "bird")]
    suggested = suggestions(np.array([e.label == "bird" for e in examples], np.int64), p)
    wanted = {(place + 2, label) for place, label in enumerate(suggested.tolist()) if label >= 0}
    found = check_labels(folder)
    assert found.num_labels == len(examples) and wanted
    found.write(tmp_path / "doubts.csv")
    with (tmp_path / "doubts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(int(r["line"]), ("beast", "bird").index(r["suggested"])) for r in rows} == wanted
    assert {row["file"] for row in rows} == {str(train)}
    sure = [float(row["p_suggested"]) - float(row["p_given"]) for row in rows]
    assert sure == sorted(sure, reverse=True)
    assert sum(row[2] for row in found.table().rows) == len(rows)


def test_labels_of_another_run_are_not_checked(run, models, files, tmp_path):
    folder, _ = run
    options = json.loads((folder / "options.json").read_text())

    def with_options(name: str, **changes) -> Path:
        (tmp_path / name).mkdir()
        text = json.dumps({**options, **changes})
        (tmp_path / name / "options.json").write_text(text)
        (tmp_path / name / "data.json").write_bytes((folder / "data.json").read_bytes())
        return tmp_path / name

    with pytest.raises(UserError, match="has no folds: make it with finetune --folds 5"):
        check_labels(with_options("single", folds=0))
    with pytest.raises(UserError, match="regression has no set of labels"):
        check_labels(with_options("numbers", task={"name": "regression"}))
    with pytest.raises(UserError, match="examples have changed"):
        check_labels(with_options("changed", train=files("train")))


@pytest.fixture
def pool(tmp_path) -> Path:
    texts = tiny.sentences(30, seed=5)
    rows = [{"id": n, "text": text, "score": "mine"} for n, text in enumerate(texts)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "pool.jsonl"


@pytest.mark.parametrize("by", ["entropy", "margin"])
def test_the_least_certain_texts_are_proposed(run, pool, tmp_path, by):
    folder, _ = run
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    said = Predictor.load(folder)([row["text"] for row in rows])
    p = np.array([list(one.probabilities.values()) for one in said])
    scores = scipy_entropy(p, axis=1) if by == "entropy" else np.abs(p[:, 0] - p[:, 1])
    wanted = np.argsort(-scores if by == "entropy" else scores, kind="stable")[:5]
    write_proposals(propose(folder, str(pool), 5, by), tmp_path / "next.jsonl")
    found = [json.loads(line) for line in (tmp_path / "next.jsonl").read_text().splitlines()]
    assert [row["score"] for row in found] == pytest.approx(scores[wanted], abs=1e-4)
    assert all(
        row["given_score"] == "mine" and row["text"] == rows[row["id"]]["text"] for row in found
    )


def test_a_core_set_is_far_from_what_is_labelled(run, pool, tmp_path):
    folder, _ = run
    texts = [json.loads(line)["text"] for line in pool.read_text().splitlines()]
    labelled = tmp_path / "labelled.tsv"
    labelled.write_text("text\tlabel\n" + "".join(f"{text}\tbird\n" for text in texts[:20]))
    found = propose(folder, str(pool), 4, "coreset", str(labelled))
    examples = [ClassExample(text=text, label=None, source="f:1") for text in texts]
    x = vectors(folder, examples)
    assert [row.fields["id"] for row, _ in found] == [i for i, _ in k_center(x, x[:20], 4)]
    assert found[0][0].fields["id"] >= 20 and found[0][1].score > 0.01
    by_default = propose(folder, str(pool), 4, "coreset")
    assert len(by_default) == 4


def test_a_task_without_probabilities_is_proposed_for_by_core_sets_alone():
    from plainformer.finetune.labels.answers import check_answers

    with pytest.raises(UserError, match="predicts no probabilities of answers"):
        check_answers(Regression(max_length=12))
