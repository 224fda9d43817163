"""Entities counted as seqeval counts them, plain labels as scikit-learn does."""

import json
import warnings
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from plainformer.base.words import join_words
from plainformer.finetune.report.figures import figures
from plainformer.finetune.tasks.tagging.entities import DASH, EntityMetric, TagMetric
from plainformer.finetune.tasks.tagging.iob import iob2, spans
from plainformer.finetune.tasks.tagging.sentences import Sentence

seqeval = pytest.importorskip("seqeval.metrics")
scheme = pytest.importorskip("seqeval.scheme")

TYPES = st.sampled_from(["PER", "LOC", "geo-loc"])
TAG = st.just("O") | st.builds("{}-{}".format, st.sampled_from("BIES"), TYPES)
PAIRS = st.lists(st.tuples(TAG, TAG), min_size=1, max_size=12)
LABEL_PAIRS = st.lists(st.tuples(*[st.sampled_from(["NN", "PRP$", "-LRB-", "O"])] * 2), min_size=1)
WRITTEN = st.lists(PAIRS, min_size=1, max_size=5)


def sentence(tags: list[str], lines: tuple[int, ...] = ()) -> Sentence:
    words = tuple(f"w{number}" for number in range(len(tags)))
    text, offsets = join_words(words)
    return Sentence(
        words=words,
        tags=tuple(tags),
        text=text,
        offsets=tuple(offsets),
        lines=lines,
        source=f"f:{lines[0] if lines else 1}",
    )


def account(metric, true: list[list[str]], predicted: list[list[str]]):
    for tags, answer in zip(true, predicted, strict=True):
        metric.add(sentence(tags), answer, [0.5] * len(answer))
    return metric


def assert_as_seqeval(metric, true, predicted, **mode) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("precision", "recall", "f1"):
            theirs = getattr(seqeval, f"{name}_score")(true, predicted, zero_division=0, **mode)
            assert metric.scores()[name] == pytest.approx(theirs)
        if not metric.names:
            return
        report = seqeval.classification_report(
            true, predicted, output_dict=True, zero_division=0, **mode
        )
    assert metric.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert list(metric.per_label) == sorted(
        set(report) - {"micro avg", "macro avg", "weighted avg"}
    )
    for name, row in metric.per_label.items():
        ours = [row[column] for column in ("precision", "recall", "f1", "support")]
        theirs = [report[name][c] for c in ("precision", "recall", "f1-score", "support")]
        assert ours == pytest.approx(theirs)


@settings(max_examples=60)
@given(WRITTEN)
def test_any_tags_are_counted_as_seqeval_counts_by_default(sentences):
    true = [[tag for tag, _ in pairs] for pairs in sentences]
    predicted = [[tag for _, tag in pairs] for pairs in sentences]
    assert_as_seqeval(account(EntityMetric(), true, predicted), true, predicted)


@settings(max_examples=60)
@given(WRITTEN)
def test_iob2_is_counted_as_seqeval_counts_strictly(sentences):
    """What the task predicts is IOB2, and what it is given is read as such."""
    true = [iob2(spans([tag for tag, _ in pairs]), len(pairs)) for pairs in sentences]
    predicted = [iob2(spans([tag for _, tag in pairs]), len(pairs)) for pairs in sentences]
    metric = account(EntityMetric(), true, predicted)
    assert_as_seqeval(metric, true, predicted, mode="strict", scheme=scheme.IOB2)
    assert metric.accuracy == pytest.approx(seqeval.accuracy_score(true, predicted))


@settings(max_examples=60)
@given(st.lists(LABEL_PAIRS, min_size=1, max_size=4))
def test_plain_labels_are_counted_as_scikit_learn_counts(sentences):
    true = [[tag for tag, _ in pairs] for pairs in sentences]
    predicted = [[tag for _, tag in pairs] for pairs in sentences]
    metric = account(TagMetric(), true, predicted)
    flat, answers = [list(chain.from_iterable(lists)) for lists in (true, predicted)]
    assert metric.accuracy == metric.scores()["f1"] == pytest.approx(accuracy_score(flat, answers))
    assert metric.macro_f1 == pytest.approx(f1_score(flat, answers, average="macro"))
    columns = precision_recall_fscore_support(flat, answers, labels=metric.names, zero_division=0)
    for row, *theirs in zip(metric.per_label.values(), *columns, strict=True):
        assert list(row.values()) == pytest.approx(theirs)


TRUE = ["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O", "B-ORG"]
SAID = ["B-PER", "I-PER", "O", "O", "B-ORG", "O", "B-LOC", "O"]
SCORES = [0.9, 0.8, 1, 1, 0.7, 1, 0.6, 0.99]


def test_mistakes_are_named_by_word_and_the_surest_comes_first():
    metric = EntityMetric()
    metric.add(sentence(TRUE, tuple(range(10, 18))), SAID, SCORES)
    found = [(m.score, m.source, m.true, m.predicted) for m in metric.mistakes]
    assert found == [
        (0.99, "f:17", "ORG: w7", DASH),
        (0.7, "f:14", "LOC: w4", "ORG: w4"),
        (0.6, "f:16", DASH, "LOC: w6"),
    ]
    assert metric.mistakes[0].text == "w0 w1 w2 w3 w4 w5 w6 w7"
    longer = EntityMetric()
    longer.add(sentence(["B-A", "I-A", "O"]), ["O", "B-A", "I-A"], [0.5, 0.6, 0.7])
    (mistake,) = longer.mistakes
    assert (mistake.true, mistake.predicted, mistake.score) == ("A: w0 w1", "A: w1 w2", 0.6)


def test_tables_figure_and_json():
    metric = account(EntityMetric(), [TRUE], [SAID])
    types, confusions = metric.tables()
    assert types.rows[2] == ["PER", 1, 1, 1, 1] and types.columns[0] == "type"
    assert list(confusions.rows) == [[DASH, "LOC", 1], ["LOC", "ORG", 1], ["ORG", DASH, 1]]
    axes = figures(metric)["confusion"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["LOC", "ORG", "PER", DASH]
    saved = json.loads(json.dumps(metric.to_json()))
    assert saved["examples"] == 1 and saved["f1"] == pytest.approx(1 / 3)
    assert ["LOC", "ORG", 1] in saved["confusion"]


def test_a_plain_label_that_was_cut_off_is_a_mistake():
    metric = TagMetric()
    metric.add(sentence(["NN", "VB"]), ["NN", ""], [0.9, 0.0])
    assert metric.accuracy == 0.5
    assert [(m.true, m.predicted) for m in metric.mistakes] == [("VB: w1", f"{DASH}: w1")]
    assert metric.per_label["VB"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert metric.tables()[0].columns[0] == "tag" and "confusion" in figures(metric)


@pytest.mark.parametrize("metric", [EntityMetric(), TagMetric()])
def test_nothing_is_counted_as_nothing(metric):
    assert set(metric.scores().values()) == {0.0}
    assert metric.tables()[0].rows == [] and metric.mistakes == []
    assert figures(metric) == {}
