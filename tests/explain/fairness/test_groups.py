"""Groups compared: against fairlearn, the metrics of the tasks, and planted bias."""

from dataclasses import replace
from typing import Any

import fairlearn.metrics as fairlearn
import numpy as np
import pytest
import scipy.stats

from plainformer.base import UserError
from plainformer.corpora import Row, WordsRow
from plainformer.corpora.rows import Doubtful
from plainformer.explain.fairness import gaps
from plainformer.explain.fairness.gaps import Compared, Gap, compare
from plainformer.explain.fairness.measure import GroupReport
from plainformer.explain.fairness.tables import group_sentences, largest_gaps
from plainformer.explain.groups import groups_of
from plainformer.explain.results import Results, results_of
from plainformer.finetune.data.example import Prediction
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import (
    ClassExample,
    Classification,
    ClassPrediction,
)
from plainformer.finetune.tasks.multi_label import LabelsExample, LabelsPrediction, MultiLabel
from plainformer.finetune.tasks.multiple_choice import (
    ChoiceExample,
    ChoicePrediction,
    MultipleChoice,
)
from plainformer.finetune.tasks.question_answering import (
    Answer,
    AnswerPrediction,
    QuestionAnswering,
    QuestionExample,
    Span,
)
from plainformer.finetune.tasks.regression import Regression, ScoreExample, ScorePrediction
from plainformer.finetune.tasks.relation import Relation, RelationExample
from plainformer.finetune.tasks.sentence_embedding import (
    SentenceEmbedding,
    SentenceExample,
    SentencePrediction,
)
from plainformer.finetune.tasks.tagging.sentences import Sentence, Tags
from plainformer.finetune.tasks.tagging.task import Tagging

LABELS = ("a", "b", "c")
KEPT: dict[str, Any] = {"max_length": 9}
COUNT = 120


def sentence(words: int, tags: tuple[str, ...]) -> Sentence:
    names = tuple("w" for _ in range(words))
    offsets = tuple((2 * n, 2 * n + 1) for n in range(words))
    return Sentence(words=names, tags=tags, text=" ".join(names), offsets=offsets, source="f:1")


def classified(random: np.random.Generator, labels: tuple[str, ...]) -> tuple[Any, Any]:
    true, p = random.choice(labels), random.dirichlet(np.ones(len(labels)))
    of = {label: float(x) for label, x in zip(labels, p, strict=True)}
    example = ClassExample(text="t", label=str(true), source="f:1")
    return example, ClassPrediction(labels[int(p.argmax())], of)


def some(name: str, seed: int = 0) -> tuple[AnyTask, list[tuple[Any, Prediction]]]:
    """A task with random examples and predictions."""
    random = np.random.default_rng(seed)
    draw = range(COUNT)
    if name == "classification":
        return Classification(labels=LABELS, **KEPT), [classified(random, LABELS) for _ in draw]
    if name == "relation":
        pairs = [classified(random, LABELS) for _ in draw]
        spans: dict[str, Any] = {"text": "t", "head": (0, 1), "tail": (0, 1), "source": "f:1"}
        made = [(RelationExample(label=e.label, **spans), p) for e, p in pairs]
        return Relation(labels=LABELS, negative="b", **KEPT), made
    if name == "multi-label":

        def labels() -> tuple[str, ...]:
            return tuple(label for label in LABELS if random.random() < 0.4)

        of = dict.fromkeys(LABELS, 0.5)
        return MultiLabel(labels=LABELS, **KEPT), [
            (LabelsExample(text="t", labels=labels(), source="f:1"), LabelsPrediction(labels(), of))
            for _ in draw
        ]
    if name == "regression":
        return Regression(**KEPT), [
            (ScoreExample(text="t", score=x, source="f:1"), ScorePrediction(x + y))
            for x, y in random.normal(size=(COUNT, 2)).tolist()
        ]
    if name == "multiple-choice":
        of_two = (0.5, 0.5)
        return MultipleChoice(**KEPT), [
            (
                ChoiceExample(text="t", options=("x", "y"), right=right, source="f:1"),
                ChoicePrediction("x", said, of_two),
            )
            for right, said in random.integers(0, 2, (COUNT, 2)).tolist()
        ]
    if name == "question-answering":
        answers = ("red", "red car", "blue car", "")

        def question(gold: str) -> QuestionExample:
            right = (Answer(gold, 0),) if gold else ()
            return QuestionExample(question="q", context="c", answers=right, source="f:1")

        def answer(said: str) -> AnswerPrediction:
            return AnswerPrediction((Span(said, 0, 1, 1.0),), 0.5, 0.0, not said)

        return QuestionAnswering(**KEPT), [
            (question(answers[i]), answer(answers[j])) for i, j in random.integers(0, 4, (COUNT, 2))
        ]
    if name == "sentence-embedding":
        pairs = [str(n) for n in random.integers(0, 90, COUNT)]
        return SentenceEmbedding(scale=None, **KEPT), [
            (
                SentenceExample(text="t", pair=pair, source="f:1"),
                SentencePrediction(random.normal((0, 0, 1), size=(2, 3)), None),
            )
            for pair in pairs
        ]
    tags = ("O", "B-x", "I-x", "B-y") if name == "entities" else ("N", "V", "D")
    task = Tagging(labels=tags, decoding="legal" if name == "entities" else "each", **KEPT)

    def tagged() -> tuple[str, ...]:
        return tuple(random.choice(tags, 5).tolist())

    return task, [(sentence(5, tagged()), Tags((), tagged(), (1.0,) * 5, None)) for _ in draw]


TASKS = ("classification", "relation", "multi-label", "regression", "multiple-choice")
TASKS += ("question-answering", "sentence-embedding", "entities", "tags")


def results(task: AnyTask, pairs: list[tuple[Any, Any]]) -> Results:
    found = results_of(task)
    for example, prediction in pairs:
        found.add(example, prediction)
    found.finish()
    return found


@pytest.mark.parametrize("name", TASKS)
def test_scores_are_those_of_the_metric_of_the_task(name: str) -> None:
    task, pairs = some(name)
    found = results(task, pairs)
    every = np.arange(COUNT)
    parts = [every] if name == "sentence-embedding" else [every, every[:50], every[::7]]
    for rows in parts:
        metric = task.metric()
        for row in rows:
            task.add_to(metric, *pairs[row])
        scores = metric.scores()
        values = zip(found.measures, found.values(rows)[0], strict=True)
        ours = {measure.name: value for measure, value in values if measure.label is None}
        shared = scores.keys() & ours.keys()
        assert next(iter(scores)) == found.measures[0].name and shared
        assert {n: ours[n] for n in shared} == pytest.approx({n: scores[n] for n in shared})


def test_ranks_are_those_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from plainformer.explain.results import number_results
    from plainformer.finetune.metrics import retrieval

    for module in (number_results, retrieval):
        monkeypatch.setattr(module, "BLOCK", 50)
    task, pairs = some("sentence-embedding")
    metric = retrieval.RetrievalMetric()
    metric._recent = type(metric._recent)(maxlen=50)
    for pair in pairs:
        task.add_to(metric, *pair)
    found = results(task, pairs).values(np.arange(COUNT))[0]
    assert found[0] == pytest.approx(metric.scores()["recall@1"])
    assert found[1] == pytest.approx(metric.scores()["mrr"])


def found_gap(compared: Compared, name: str, label: str | None = None) -> Gap:
    return next(gap for gap in compared.gaps if (gap.name, gap.label) == (name, label))


@pytest.mark.parametrize("labels", [("no", "yes"), LABELS], ids=["binary", "one of three"])
@pytest.mark.parametrize("groups", [2, 4])
def test_gaps_are_those_of_fairlearn(
    labels: tuple[str, ...], groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 2)
    random = np.random.default_rng(groups)
    pairs = [classified(random, labels) for _ in range(300)]
    of_rows = random.integers(0, groups, 300)
    compared = compare(
        results(Classification(labels=labels, **KEPT), pairs), "abcd"[:groups], of_rows
    )
    for label in labels:
        true = [example.label == label for example, _ in pairs]
        said = [prediction.label == label for _, prediction in pairs]
        given: dict[str, Any] = {"sensitive_features": of_rows}
        parity, odds = (
            found_gap(compared, gaps.PARITY, label),
            found_gap(compared, gaps.ODDS, label),
        )
        theirs = [
            fairlearn.demographic_parity_difference(true, said, **given),
            fairlearn.demographic_parity_ratio(true, said, **given),
            fairlearn.equalized_odds_difference(true, said, **given),
            fairlearn.equalized_odds_ratio(true, said, **given),
        ]
        ours = [parity.difference.value, parity.ratio, odds.difference.value, odds.ratio]
        assert ours == pytest.approx(theirs, abs=1e-12)
        by_group = fairlearn.MetricFrame(
            metrics=fairlearn.false_positive_rate, y_true=true, y_pred=said, **given
        )
        column = [(m.name, m.label) for m in compared.measures].index(("false alarms", label))
        ours = [values[column].value for values in compared.groups.values()]
        assert ours == pytest.approx(by_group.by_group.tolist(), abs=1e-12)


def planted(share_wrong: dict[str, float], count: int = 200) -> tuple[Results, Any]:
    """Answers that are wrong for a share of each group, and the number of each row's group."""
    random = np.random.default_rng(5)
    of_rows = np.repeat(np.arange(len(share_wrong)), count)
    pairs = []
    for group in of_rows:
        wrong = random.random() < [*share_wrong.values()][group]
        true, said = (
            random.permutation(["no", "yes"]) if wrong else [random.choice(["no", "yes"])] * 2
        )
        of = {"no": 0.5, "yes": 0.5}
        example = ClassExample(text="t", label=str(true), source="f:1")
        pairs.append((example, ClassPrediction(str(said), of)))
    return results(Classification(labels=("no", "yes"), **KEPT), pairs), of_rows


def test_a_planted_bias_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 200)
    found, of_rows = planted({"f": 0.3, "m": 0.1})
    compared = compare(found, ("f", "m"), of_rows)
    accuracy = found_gap(compared, "accuracy")
    assert compared.worst == accuracy.lowest == "f" and accuracy.highest == "m"
    assert 0 < accuracy.difference.low <= 0.2 <= accuracy.difference.high
    assert accuracy.chance <= 0.01
    fair = compare(planted({"f": 0.2, "m": 0.2})[0], ("f", "m"), of_rows)
    gap = found_gap(fair, "accuracy")
    assert gap.chance > 0.05 and gap.difference.low < 0


def test_the_interval_of_a_difference_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two samples, drawn apart: ours are drawn together, so they differ by chance alone."""
    monkeypatch.setattr(gaps, "SAMPLES", 1000)
    found, of_rows = planted({"f": 0.3, "m": 0.1})
    right = [found.values(np.array([row]))[0][0] for row in range(400)]
    theirs = scipy.stats.bootstrap(
        (right[200:], right[:200]),
        lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis),
        n_resamples=4000,
        method="percentile",
        rng=0,
    ).confidence_interval
    ours = found_gap(compare(found, ("f", "m"), of_rows), "accuracy").difference
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.015)


def test_chance_is_that_of_a_permutation_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 500)
    found, of_rows = planted({"f": 0.3, "m": 0.2}, 60)
    right = [found.values(np.array([row]))[0][0] for row in range(120)]
    theirs = scipy.stats.permutation_test(
        (right[:60], right[60:]),
        lambda a, b: abs(np.mean(a) - np.mean(b)),
        n_resamples=2000,
        alternative="greater",
        rng=0,
    )
    ours = found_gap(compare(found, ("f", "m"), of_rows), "accuracy").chance
    assert ours == pytest.approx(theirs.pvalue, abs=0.06)


def test_the_chance_of_the_largest_gap_of_many_labels_is_rarely_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Groups that differ in nothing: one of 20 labels is always far apart."""
    monkeypatch.setattr(gaps, "SAMPLES", 60)
    random, of_rows = np.random.default_rng(0), np.arange(300) % 2
    labels, small = tuple(f"l{n:02}" for n in range(20)), 0
    for _ in range(40):
        pairs = [classified(random, labels) for _ in of_rows]
        found = compare(results(Classification(labels=labels, **KEPT), pairs), ("f", "m"), of_rows)
        (parity,) = [gap for gap in largest_gaps(found) if gap.name == gaps.PARITY]
        small += parity.chance < 0.05
    assert small <= 6  # compared with its own label alone: 17


def test_macro_f1_of_a_group_is_over_the_labels_that_it_has() -> None:
    labels, of = ("a", "b", "c", "never"), dict.fromkeys(LABELS, 0.5)
    pairs: list[tuple[Any, Any]] = [
        (LabelsExample(text="t", labels=given, source="f:1"), LabelsPrediction(given, of))
        for given in (("a",), ("a", "b"), ("c",))
    ]
    found = results(MultiLabel(labels=labels, **KEPT), pairs)
    column = [one.name for one in found.measures].index("macro_f1")
    for rows, wanted in (([0, 1, 2], 3 / 4), ([0], 1), ([1, 2], 1)):
        assert found.values(np.array(rows))[0][column] == pytest.approx(wanted)


def test_no_group_is_the_worst_where_none_has_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 2)
    task = Regression(**KEPT)
    pairs: list[tuple[Any, Any]] = [
        (ScoreExample(text="t", score=1.0, source="f:1"), ScorePrediction(float(n)))
        for n in range(4)
    ]
    (groups,) = groups_of(["sex"], rows("f", "f", "m", "m"))
    numbers = groups.numbers(("f", "m"))
    compared = compare(results(task, pairs), ("f", "m"), numbers)
    assert compared.worst is None
    said = group_sentences(GroupReport(groups, 1, compared))
    assert said == ["worst by spearman: none, for it is undefined in every group"]


def test_a_rate_of_too_few_rows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 2)
    found, of_rows = planted({"f": 0.0, "m": 0.5}, 30)
    compared = compare(found, ("f", "m"), of_rows, smallest=25)
    assert np.isfinite(found_gap(compared, gaps.PARITY, "yes").difference.value)
    odds = found_gap(compared, gaps.ODDS, "yes")  # no group has 25 rows with or without the label
    assert np.isnan([odds.difference.value, odds.ratio, odds.chance]).all()


def test_a_rate_that_is_left_out_leaves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "SAMPLES", 2)
    random = np.random.default_rng(0)
    pairs = [classified(random, LABELS) for _ in range(60)]  # 10 in a group have label a, 20 others
    found = results(Classification(labels=LABELS, **KEPT), pairs)
    compared = compare(found, ("f", "m"), np.arange(60) % 2, smallest=15)
    odds = found_gap(compared, gaps.ODDS, "a")
    columns = [(one.name, one.label) for one in compared.measures]
    values = [x[columns.index(("false alarms", "a"))].value for x in compared.groups.values()]
    assert np.isnan(
        [x[columns.index(("recall", "a"))].value for x in compared.groups.values()]
    ).all()
    assert odds.difference.value == pytest.approx(np.ptp(values)) and odds.difference.value > 0
    assert {odds.lowest, odds.highest} == {"f", "m"} and np.isfinite(odds.difference.low)


def rows(*values: Any, column: str = "sex") -> list[Row]:
    return [Row({"text": "t", column: value}, "f.csv", n) for n, value in enumerate(values, 2)]


def test_groups_are_read() -> None:
    (groups,) = groups_of(["sex"], rows("f", "m ", " ", None, 1, Doubtful("NA"), "f", float("nan")))
    assert groups.of_rows == ["f", "m", None, None, "1", None, "f", None]
    assert groups.counts == {"f": 2, "1": 1, "m": 1} and groups.missing == 4
    assert groups.numbers(("m", "f")).tolist() == [1, 0, -1, -1, -1, -1, 1, -1]
    two = [Row({"a": "x", "b": "y"}, "f", 1), Row({"a": "x"}, "f", 2)]
    *_, crossed = groups_of(["a", "b"], two)
    assert crossed.of_rows == ["x × y", None] and crossed.name == "a × b"
    words = WordsRow({"words": ["a", "b"], "sex": ["f", "f"]}, "f", 1)
    assert groups_of(["sex"], [words])[0].of_rows == ["f"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (rows("f", column="gender"), "f.csv: no column 'sex'; columns: text, gender"),
        (rows(["f"]), "f.csv:2: column 'sex' is not one value"),
        (rows("f", "f"), "every row has 'f' in column 'sex'"),
        (rows(None, ""), "no row has a value"),
        (rows("f", "f", "m"), "fewer than two have 2 rows (f 2, 'm' 1)".replace("(f", "('f'")),
        ([WordsRow({"words": [], "tags": []}, "f", 1)], "write the sentences as .jsonl"),
        ([WordsRow({"words": [], "sex": ["f", "m"]}, "f", 1)], "the words of a sentence differ"),
    ],
)
def test_what_is_no_group_is_said(given: list[Row], fault: str) -> None:
    with pytest.raises(UserError) as error:
        for groups in groups_of(["sex"], given):
            groups.large(2)
    assert fault in str(error.value)


def test_sentences_without_entities_have_no_recall() -> None:
    task, pairs = some("entities")
    none = replace(pairs[0][1], tags=("O",) * 5)
    found = results(task, [(sentence(5, ("O",) * 5), none)] * 3)
    assert np.isnan(found.values(np.arange(3))[0]).all() and len(found.measures) == 3
