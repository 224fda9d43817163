"""A number a text: the loss of transformers, the correlations of SciPy, any finite number."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error

from plainformer.base import UserError, write_text
from plainformer.encoder import SequenceClassifier
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    RegressionOptions,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.metrics import NumberMetric
from plainformer.finetune.metrics.roc import ranks
from plainformer.finetune.report.figures import figures
from plainformer.finetune.run import build
from plainformer.finetune.tasks.regression import Regression, ScoreExample
from plainformer.training import LoopConfig
from tests.finetune.conftest import config_of
from tests.pictures import pictures
from tests.pretrain import tiny


def example(score: float | None, text: str = "t", pair: str | None = None) -> ScoreExample:
    return ScoreExample(text=text, pair=pair, score=score, source="f.jsonl:1")


def metric_of(true, predicted) -> NumberMetric:
    metric = NumberMetric()
    for t, p in zip(true, predicted, strict=True):
        metric.add(float(t), float(p))
    return metric


def test_loss_and_gradient_are_those_of_transformers(tokenizer, models, tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    ours = SequenceClassifier.from_pretrained(
        models["bert"], labels=("LABEL_0",), problem_type="regression"
    )
    ours.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert (theirs.config.problem_type, theirs.config.num_labels) == ("regression", 1)
    task = Regression(max_length=64)
    texts = tiny.sentences(5)
    examples = [
        example(i * 0.7 - 1, t, "the cat ." if i % 2 else None) for i, t in enumerate(texts)
    ]
    batch = Batch.of([task.encode(e, tokenizer) for e in examples])
    loss = task.loss(task.outputs(ours, batch), batch)
    assert loss.items == 5
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
        ours.classifier.weight.grad, theirs.classifier.weight.grad, rtol=1e-4, atol=1e-6
    )
    said = [answer.score for answer in task.predict(batch.in_order(wanted.logits), batch)]
    assert said == pytest.approx(batch.in_order(wanted.logits)[:, 0].tolist())


def test_the_answer_for_windows_is_their_mean(tokenizer, models) -> None:
    model = SequenceClassifier.from_pretrained(models["bert"], labels=("LABEL_0",))
    task = Regression(max_length=12, overflow="windows")
    item = task.encode(example(2.5, " ".join(tiny.sentences(4))), tokenizer)
    assert len(item.encodings) > 1
    batch = Batch.of([item, task.encode(example(1.0), tokenizer)])
    with torch.no_grad():
        outputs = task.outputs(model, batch)
        (mean, _) = task.predict(outputs, batch)
        ours = [model(torch.tensor([e.ids])).item() for e in item.encodings]
    assert mean.score == pytest.approx(np.mean(ours), abs=1e-5)
    assert task.loss(outputs, batch).items == 2


few = st.integers(-3, 3).map(float)
numbers = st.one_of(few, st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3)))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=60))
def test_scores_equal_scipy_and_scikit_learn(rows) -> None:
    """Ties are many among so few numbers."""
    true, predicted = np.array(rows).T
    scores = metric_of(true, predicted).scores()
    assert next(iter(scores)) == "spearman"
    assert scores["mse"] == pytest.approx(mean_squared_error(true, predicted))
    assert scores["mae"] == pytest.approx(mean_absolute_error(true, predicted))
    if len(set(true)) == 1 or len(set(predicted)) == 1:
        assert math.isnan(scores["spearman"]) and math.isnan(scores["pearson"])
        return
    assert scores["spearman"] == pytest.approx(stats.spearmanr(true, predicted)[0], abs=1e-9)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(true, predicted)[0], abs=1e-6)
    assert ranks(true) == pytest.approx(stats.rankdata(true))


def test_memory_is_sixteen_bytes_a_text() -> None:
    metric = metric_of(range(1000), range(1000))
    assert metric.scores()["spearman"] == pytest.approx(1)
    kept = [a for a in vars(metric).values() if hasattr(a, "itemsize")]
    assert sum(a.itemsize * len(a) for a in kept) == 16_000
    assert len(metric.mistakes) == 0


def test_the_largest_errors_are_the_mistakes() -> None:
    metric = metric_of([1.0, 2.0, 3.0], [1.0, 2.5, 0.0])
    assert [(m.score, m.true, m.predicted) for m in metric.mistakes] == [
        (3.0, "3", "0"),
        (0.5, "2", "2.5"),
    ]
    assert set(figures(metric)) == {"scatter"}


def read(folder: Path, name: str, content: str) -> list[ScoreExample]:
    write_text(folder / name, content)
    return list(read_examples(Regression, str(folder / name), "train"))


def test_numbers_in_any_form(tmp_path) -> None:
    lines = ['{"text": "t", "score": 3}', '{"text": "t", "score": "-1.5"}']
    assert [e.score for e in read(tmp_path, "f.jsonl", "\n".join(lines))] == [3.0, -1.5]
    assert [e.score for e in read(tmp_path, "f.csv", "text,score\na,1e-3\nb, 2\n")] == [0.001, 2.0]


@pytest.mark.parametrize("score", ["Infinity", '"high"', '""', "true", "1e999", '"1,5"', '"1_000"'])
def test_what_is_no_number_is_named_by_file_and_line(tmp_path, score) -> None:
    rows = f'{{"text": "t", "score": 1}}\n{{"text": "t", "score": {score}}}\n'
    with pytest.raises(UserError, match=r"f\.jsonl:2: the score is no finite number: "):
        read(tmp_path, "f.jsonl", rows)


def test_a_score_that_is_not_a_number_is_missing(tmp_path) -> None:
    with pytest.raises(UserError, match=r"f\.jsonl:1: no value in column 'score'"):
        read(tmp_path, "f.jsonl", '{"text": "t", "score": NaN}')
    with pytest.raises(UserError, match=r"f\.csv:2: the score is no .* '1,5'; write a point: 3.5"):
        read(tmp_path, "f.csv", "text;score\na;1,5\n")


def test_a_number_whose_square_is_none(tmp_path) -> None:
    with pytest.raises(UserError, match=r"f\.jsonl:1: the score 1e\+300 is too large"):
        read(tmp_path, "f.jsonl", '{"text": "t", "score": 1e300}')


def test_a_row_without_a_score(tmp_path) -> None:
    for row, message in [
        ('{"text": "t", "label": 1}', "no column 'score'; columns: text, label"),
        ('{"text": "t", "score": null}', "no value in column 'score'"),
        ('{"text": "t", "score": [1]}', "column 'score' is not one text"),
    ]:
        with pytest.raises(UserError, match=r"f\.jsonl:1: ") as caught:
            read(tmp_path, "f.jsonl", row)
        assert message in str(caught.value)


def config(**changes) -> FinetuneConfig:
    paths = {"model": Path("m"), "train": "t", "valid": "v", "out": Path("o"), "max_length": 32}
    return config_of(RegressionOptions, **{**paths, **changes})


def test_one_number_for_all_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match=r"f\.jsonl: every example has the score 2.0"):
        Regression.fit(config(), [example(2.0), example(2.0)])


@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_new_output_begins_as_if_scores_were_standardised(models, from_scratch) -> None:
    settings = config(model=models["bert"], max_length=32, from_scratch=from_scratch)
    plain = build(Regression(max_length=32), settings).classifier
    task = Regression.fit(settings, [example(score) for score in (100.0, 200.0, 600.0)])
    assert (task.mean, task.deviation) == (300.0, pytest.approx(np.std([100, 200, 600])))
    begun = build(task, settings).classifier
    assert begun.bias.item() == 300
    torch.testing.assert_close(begun.weight, plain.weight * task.deviation)


def write(path: Path, count: int, seed: int) -> str:
    """The number of a sentence is that of its animal."""
    with path.open("w") as file:
        for text in tiny.sentences(count, seed):
            score = 3 + tiny.ANIMALS.index(text.split()[2]) / 2
            file.write(json.dumps({"text": text, "score": score}) + "\n")
    return str(path)


def test_from_rows_to_a_folder_that_transformers_opens(models, tokenizer, tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification

    run = tmp_path / "run"
    valid = write(tmp_path / "valid.jsonl", 60, 1)
    settings = {
        "model": models["modern"],
        "train": write(tmp_path / "train.jsonl", 300, 0),
        "valid": valid,
        "batch_size": 16,
        "max_length": 24,
        "training": LoopConfig(learning_rate=5e-3, eval_every=0, checkpoint_every=0),
    }
    with pictures():
        outcome = finetune(config(**settings, out=run, epochs=5), quiet=True)
    assert outcome.score > 0.95
    assert outcome.metric.scores()["mse"] < 0.3, "the numbers are met, not their order alone"
    assert evaluate_folder(run, valid, quiet=True).metric.scores() == outcome.metric.scores()
    assert (run / "scatter.png").exists()

    text = "the red owl grabs the red mice ."
    (said,) = Predictor.load(run)([text])
    theirs = AutoModelForSequenceClassification.from_pretrained(run).eval()
    with torch.no_grad():
        logits = theirs(torch.tensor([tokenizer.encode(text).ids])).logits
    assert said.score == pytest.approx(logits.item(), abs=1e-5)

    again = finetune(config(**{**settings, "model": run}, out=tmp_path / "again", epochs=0), True)
    assert again.metric.scores() == outcome.metric.scores(), "what was learned is gone on from"


def test_no_correlation_is_beyond_one():
    series = np.random.default_rng(0).normal(size=(200, 7))
    assert max(metric_of(x, 3 * x).scores()["pearson"] for x in series) == 1
    assert min(metric_of(x, -3 * x).scores()["pearson"] for x in series) == -1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_correlates_with_nothing(value):
    scores = metric_of(range(4), [0.1, value, 0.3, 0.4]).scores()
    assert math.isnan(scores["pearson"])
    assert math.isnan(scores["spearman"]) == math.isnan(value)
