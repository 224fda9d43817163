"""Calibration: against scikit-learn and SciPy, by hand, and on models of known temperature."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy.optimize import minimize_scalar
from scipy.stats import betabinom

from plainformer.__main__ import main
from plainformer.base import UserError
from plainformer.deploy.card import Facts, card_text
from plainformer.deploy.export import export_folder, write_beside
from plainformer.deploy.opened import Opened
from plainformer.deploy.server.served import Served
from plainformer.encoder import (
    ChoiceScorer,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.explain.confidence import (
    Measures,
    Wanted,
    best_temperature,
    binned,
    calibrate,
    least_confidence,
    set_threshold,
)
from plainformer.explain.confidence.abstaining import numbers_to_test
from plainformer.explain.confidence.answered import Answered, softmax
from plainformer.explain.confidence.conformal import expected_coverage, rank
from plainformer.explain.confidence.temperature import fit_temperature
from plainformer.finetune import Predictor, evaluate_folder
from plainformer.finetune.calibration import UNCALIBRATED, Calibrated, set_scores
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.metrics import ClassMetric
from plainformer.finetune.multitask import SeveralHeads, load_several, save_heads
from plainformer.finetune.task import AnyTask
from plainformer.finetune.task_file import load_task, save_task
from plainformer.finetune.tasks import TASKS, name_of
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.crf import ChainTagger, Posterior
from plainformer.finetune.tasks.tagging.task import Tagging
from tests.encoder.tools import randomise
from tests.pretrain import tiny

TOKENIZER = tiny.make_tokenizer()
SHAPE = tiny.shape("bert", TOKENIZER)
LABELS, TAGS = ("a", "b", "c"), ("O", "B-x", "I-x")
LENGTH: dict[str, Any] = {"max_length": 48}
TEXTS = tiny.sentences(3)
WORDS = [*tiny.ANIMALS, *tiny.DEEDS, *tiny.FOOD, *tiny.COLOURS]
KNOWN = 2.0
"""The temperature of the labels that are drawn."""


def drawn(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and answers that are drawn at the known temperature."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((count, 4))
    p = softmax(logits / KNOWN)
    return logits, (p.cumsum(1) < rng.random((count, 1))).sum(1)


def nll(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    x = logits / temperature
    return float((np.logaddexp.reduce(x, 1) - x[np.arange(len(x)), truth]).sum())


# Temperature


def test_the_temperature_is_that_of_scipy_and_scikit_learn() -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    logits, truth = drawn()

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(4)

        def fit(self, X: Any, y: Any) -> "Given":
            return self

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, X: Any) -> Any:
            return X.argmax(1)

        def decision_function(self, X: Any) -> Any:
            return X

    found = best_temperature(logits, truth)
    least = minimize_scalar(lambda x: nll(logits, truth, np.exp(x)), tol=1e-12)
    assert np.log(found) == pytest.approx(least.x, abs=1e-6)
    theirs = CalibratedClassifierCV(FrozenEstimator(Given()), method="temperature", ensemble=False)
    theirs.fit(logits, truth)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert found == pytest.approx(1 / beta, rel=1e-6)
    assert found == pytest.approx(KNOWN, rel=0.1)
    for shift in (0.999, 1.001):
        assert nll(logits, truth, found) < nll(logits, truth, found * shift)


def test_no_temperature_for_a_model_that_never_errs_or_knows_nothing() -> None:
    logits = np.eye(4)[[0, 1, 2, 3]]
    with pytest.raises(UserError, match="right, or nearly, in all of 4 answers"):
        best_temperature(logits, np.arange(4))
    with pytest.raises(UserError, match="no temperature helps"):
        best_temperature(logits, np.array([1, 2, 3, 0]))


# Measures


def test_measures_are_those_of_scikit_learn_and_by_hand() -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    logits, truth = drawn(500)
    p = softmax(logits)
    found = Measures.of(p, truth)
    assert found.nll == pytest.approx(log_loss(truth, p))
    assert found.brier == pytest.approx(brier_score_loss(truth, p, scale_by_half=False))
    names = [str(n) for n in range(4)]
    ours = ClassMetric(names)
    for row, true in zip(p, truth, strict=True):
        said = dict(zip(names, row.tolist(), strict=True))
        ours.add(str(true), max(said, key=lambda name: said[name]), said)
    assert found.ece_width == pytest.approx(ours.calibration_error)
    assert found.accuracy == ours.accuracy

    confidence, right = np.array([0.5, 0.6, 0.9, 0.7]), np.array([True, False, True, True])
    halves = binned(confidence, right, "mass", bins=2)
    assert halves.counts.tolist() == [2, 2] and halves.accuracy.tolist() == [0.5, 1.0]
    assert halves.error == pytest.approx(0.5 * abs(0.5 - 0.55) + 0.5 * abs(1.0 - 0.8))
    wide = binned(confidence, right, "width", bins=2)
    assert wide.counts.tolist() == [4] and wide.error == pytest.approx(abs(0.75 - 0.675))


def test_scaling_to_the_known_temperature_calibrates() -> None:
    logits, truth = drawn(20_000)
    before, after = (Measures.of(softmax(logits / t), truth) for t in (1.0, KNOWN))
    assert before.ece_width > 0.1 > 0.02 > after.ece_width
    assert before.ece_mass > 0.1 > 0.02 > after.ece_mass


# Sets


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_the_coverage_of_many_splits_is_beta_binomial(score: Any, coverage: float) -> None:
    splits, count, new = 400, 99, 50
    logits, truth = drawn(splits * (count + new), seed=3)
    scores = set_scores(softmax(logits), score)  # of an uncalibrated model
    mine = np.take_along_axis(scores, truth[:, None], 1).reshape(splits, count + new)
    held = [int((row[count:] <= set_threshold(row[:count], coverage)).sum()) for row in mine]
    low, high = expected_coverage(count, coverage, new)
    inside = np.mean([low <= k / new <= high for k in held])
    assert inside > 0.92  # 95 % and more; of 400 splits
    k = rank(count, coverage)
    spread = betabinom(new, k, count + 1 - k)
    assert abs(np.mean(held) - spread.mean()) < 4 * spread.std() / np.sqrt(splits)
    assert np.std(held) == pytest.approx(spread.std(), rel=0.15)


def test_too_few_rows_for_a_coverage() -> None:
    assert rank(99, 0.9) == 90 and rank(19, 0.95) == 19
    assert set_threshold(np.arange(19.0)[::-1], 0.5) == 9  # the tenth of 19
    with pytest.raises(UserError, match=r"a coverage of 0\.95 needs 19 calibration rows"):
        rank(18, 0.95)


# Abstaining


def test_the_numbers_to_test_are_those_of_clopper_and_pearson() -> None:
    """59 without an error, 93 with one, 124 with two: the tables of quality control."""
    assert numbers_to_test(130, 0.05).tolist() == [59, 93, 124, 130]
    assert numbers_to_test(1000, 0.05)[:2].tolist() == [124, 153]


def test_the_error_among_the_answered_is_at_most_the_risk_in_95_of_100_splits() -> None:
    """Confidence c is right with probability c: so the error above θ is known."""
    rng, risk = np.random.default_rng(0), 0.1
    broken = found = 0
    for _ in range(300):
        confidence = rng.uniform(0.5, 1.0, 400)
        right = rng.random(400) < confidence
        with suppress(UserError):  # then it answers nothing
            theta = least_confidence(confidence, right, risk)
            found += 1
            broken += 1 - (theta + 1) / 2 > risk  # the mean of a uniform above θ
    assert found > 100 and broken / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    with pytest.raises(UserError, match="400 rows do not show"):
        least_confidence(rng.uniform(0.5, 1.0, 400), rng.random(400) < 0.5, risk)


# Models


def tasks() -> dict[str, tuple[AnyTask, Any]]:
    """Tasks, each with a model."""
    crf = TokenClassifier(SHAPE, TAGS)
    return {
        "labels": (Classification(labels=LABELS, **LENGTH), SequenceClassifier(SHAPE, LABELS)),
        "topics": (
            MultiLabel(labels=LABELS, thresholds=(0.3, 0.5, 0.6), **LENGTH),
            SequenceClassifier(SHAPE, LABELS),
        ),
        "tags": (Tagging(labels=LABELS, decoding="each", **LENGTH), TokenClassifier(SHAPE, LABELS)),
        "legal": (Tagging(labels=TAGS, decoding="legal", **LENGTH), TokenClassifier(SHAPE, TAGS)),
        "crf": (Tagging(labels=TAGS, decoding="crf", **LENGTH), ChainTagger(crf)),
        "choice": (MultipleChoice(**LENGTH), ChoiceScorer(SHAPE)),
        "words": (
            Prompt(
                labels=LABELS,
                template="{text} [MASK]",
                words=LABELS,
                word_ids=(7, 8, 9),
                mask_id=TOKENIZER.mask_id,
                **LENGTH,
            ),
            MaskedLM(SHAPE),
        ),
        "score": (Regression(**LENGTH), SequenceClassifier(SHAPE, ("LABEL_0",))),
        "answers": (QuestionAnswering(**LENGTH), QuestionAnswerer(SHAPE)),
        "vectors": (SentenceEmbedding(scale=(0.0, 5.0), **LENGTH), SentenceEncoder(SHAPE)),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """The folder of a model with random weights, and rows that are labelled as it says at KNOWN."""
    root, found = tmp_path_factory.mktemp("calibrated"), tasks()

    def make(name: str) -> tuple[Path, Path]:
        run, file = root / name, root / f"{name}.jsonl"
        if not run.exists():
            task, model = found[name]
            clear(randomise(model)).save_pretrained(run)
            TOKENIZER.save(run)
            save_task(task, run)
            if name not in ("answers", "vectors"):
                rows = labelled(task, run, 600)
                file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return run, file

    return make


def clear(model: PretrainedModel) -> PretrainedModel:
    """Scale the last layer, so that the model tells texts apart."""
    head = getattr(model, "classifier", None)
    head = getattr(head, "classifier", head)  # under a CRF
    if isinstance(head, torch.nn.Linear):
        head.weight.data *= 24 if isinstance(model, ChoiceScorer) else 8
    return model


def labelled(task: AnyTask, run: Path, count: int) -> list[dict[str, Any]]:
    """Rows of random words, with labels that are drawn as the model says at the temperature."""
    rng, random = np.random.default_rng(5), Random(5)
    texts = [" ".join(random.choices(WORDS, k=7)) for _ in range(count)]
    rows: list[dict[str, Any]] = [{"text": text} for text in texts]
    if isinstance(task, MultipleChoice):
        rows = [{**row, "options": random.sample(WORDS, 2 + n % 3)} for n, row in enumerate(rows)]
    if isinstance(task, Tagging):
        rows = [{"words": text.split()} for text in texts]
    if isinstance(task, Regression):
        scores = [prediction.score for prediction in Predictor.load(run)(rows)]
        noise = rng.standard_normal(count)
        return [{**r, "score": float(s + n)} for r, s, n in zip(rows, scores, noise, strict=True)]
    model = Predictor.load(run)
    hot = replace(model, task=task.at(KNOWN))
    for row, prediction in zip(rows, hot(rows), strict=True):
        if isinstance(task, MultiLabel):
            p = prediction.probabilities
            row["labels"] = [label for label in p if rng.random() < p[label]]
        elif isinstance(task, MultipleChoice):
            row["label"] = int(rng.choice(len(row["options"]), p=normal(prediction.probabilities)))
        elif isinstance(task, Classification):
            p = prediction.probabilities
            row["label"] = str(rng.choice(list(p), p=normal(list(p.values()))))
        else:  # a tag that is never illegal after others
            row["tags"] = list(prediction.tags)
            for place in range(len(prediction.tags)):
                if rng.random() > 0.8:
                    row["tags"][place] = LABELS[place % 3] if task.decoding == "each" else "B-x"
    return rows


def normal(p: Any) -> np.ndarray:
    return np.array(p) / np.sum(p)


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


def test_sets_and_abstaining_on_a_real_model(
    made: Callable[[str], tuple[Path, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, data = made("labels")
    run = shutil.copytree(given, tmp_path / "run")
    options = ["--coverage", "0.8", "--risk", "0.5", "--sets", "aps"]
    assert main(["calibrate", str(run), "--data", str(data), *options]) == 0
    said = capsys.readouterr().out
    assert "coverage measured" in said and "share answered" in said
    written = json.loads((run / "calibration" / "calibration.json").read_text(encoding="utf-8"))
    assert written["rows"] == {
        "fit the temperature": 200,
        "choose the thresholds": 200,
        "measure": 200,
    }
    low, high = betabinom.ppf([0.001, 0.999], 200, rank(200, 0.8), 201 - rank(200, 0.8)) / 200
    assert low <= written["coverage"]["measured"] <= high
    assert written["abstaining"]["error"] <= written["abstaining"]["error_of_all"]
    assert (run / "calibration" / "calibration.png").stat().st_size > 10_000
    assert written["calibration"] == json.loads((run / "task.json").read_text())["calibration"]

    # The same on rows that are evaluated and predicted from the folder.
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    predictions = Predictor.load(run)(rows)
    covered = np.mean([r["label"] in p.set for r, p in zip(rows, predictions, strict=True)])
    assert 0.7 < covered < 0.9 and {p.abstained for p in predictions} == {True, False}
    before, after = (
        evaluate_folder(one, str(data), quiet=True).metric.scores() for one in (given, run)
    )
    assert before["accuracy"] == after["accuracy"]
    assert after["calibration_error"] < before["calibration_error"]


def test_intervals_of_scores(made: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    given, data = made("score")
    run = shutil.copytree(given, tmp_path / "run")
    report = calibrate(run, str(data), test=None, wanted=Wanted(coverage=0.9), quiet=True)
    assert report.rows == {"choose the thresholds": 300, "measure": 300}
    assert report.scaling is None and report.coverage is not None
    assert report.coverage.size == pytest.approx(2 * 1.645, rel=0.15)  # of a normal distribution
    low, high = betabinom.ppf([0.001, 0.999], 300, 271, 30) / 300
    assert low <= report.coverage.measured <= high
    (found,) = Predictor.load(run)(["the red hen"])
    assert found.interval[1] - found.score == pytest.approx(report.calibration.set_threshold)


def test_rows_to_measure_on_may_be_given(
    made: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    given, data = made("labels")
    run = shutil.copytree(given, tmp_path / "run")
    lines = data.read_text(encoding="utf-8").splitlines()
    test = tmp_path / "test.jsonl"
    test.write_text("\n".join(lines[:100]), encoding="utf-8")
    report = calibrate(run, str(data), str(test), quiet=True)
    assert report.rows == {"fit the temperature": 600, "measure": 100}


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


@pytest.mark.parametrize(
    ("name", "wanted", "fault"),
    [
        ("score", Wanted(), "has no temperature: --coverage 0.9"),
        ("score", Wanted(coverage=0.9, risk=0.1), "cannot abstain"),
        ("vectors", Wanted(), "sentence-embedding has no probabilities of labels"),
        ("answers", Wanted(), "question-answering has no probabilities of labels"),
        ("tags", Wanted(coverage=0.9), "does not choose one answer"),
        ("labels", Wanted(coverage=0.999), "needs 999 calibration rows"),
        ("labels", Wanted(risk=0.001), "do not show that the model errs"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    name: str, wanted: Wanted, fault: str, made: Callable[[str], tuple[Path, Path]]
) -> None:
    run, data = made(name)
    with pytest.raises(UserError, match=fault):
        calibrate(run, str(data), wanted=wanted, quiet=True)
    assert not (run / "calibration").exists()
    assert load_task(run).calibration == UNCALIBRATED


def test_bad_rows_and_options(
    made: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = made("labels")
    strange = tmp_path / "strange.csv"
    strange.write_text("text,label\nthe hen,a\nthe owl,z\nthe cat,b\n", encoding="utf-8")
    single = tmp_path / "single.csv"
    single.write_text("text,label\nthe hen,a\n", encoding="utf-8")
    for arguments, fault in (
        ([str(run), "--data", str(strange)], "strange.csv:3: the label 'z'"),
        (
            [str(run), "--data", str(single)],
            "1 different text cannot be shared out to fit the temp",
        ),
        ([str(run), "--data", str(data), "--test", str(data)], "fitted and measured on"),
        ([str(run), "--data", str(data), "--coverage", "1"], "coverage must be between 0 and 1"),
        ([str(run), "--data", str(data), "--risk", "nan"], "risk must be"),
        (["minilm", "--data", str(data)], "no local folder"),
        ([str(tmp_path), "--data", str(data)], "holds no task.json"),
    ):
        assert main(["calibrate", *arguments]) == 2
        said = capsys.readouterr().err
        assert fault in said and said.count("\n") == 1
    assert load_task(run).calibration == UNCALIBRATED


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
