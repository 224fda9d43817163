"""Ensembles and soups: means of predictions and of weights, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plainformer.__main__ import main
from plainformer.base import UserError, read_json, write_json
from plainformer.encoder import Encoder, SentenceEncoder, SequenceClassifier
from plainformer.finetune import (
    FinetuneConfig,
    Predictor,
    TuningOptions,
    evaluate_folder,
    finetune,
    soup,
)
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.ensemble import Ensemble, Finetuned, mean_task
from plainformer.finetune.label_order import with_label_order
from plainformer.finetune.run import write_folder
from plainformer.finetune.soup import greedy, mean_weights
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding, cosines
from plainformer.training import LoopConfig
from tests.encoder.tools import randomise
from tests.finetune.test_robust_tasks import TASKS, ready
from tests.pretrain import tiny

LABELS = ("a", "b", "c")
TEXTS = tiny.sentences(8, seed=4)


def made(folder: Path, tokenizer, seed: int, labels=LABELS, kind: Any = Classification) -> Path:
    """A folder of a classifier with weights of this seed."""
    task = kind(labels=labels, max_length=32)
    model = randomise(SequenceClassifier(tiny.shape("bert", tokenizer), labels), seed)
    write_folder(folder, task, model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def three(tokenizer, tmp_path_factory) -> list[Path]:
    """Three classifiers; the labels of the last one are in another order."""
    root = tmp_path_factory.mktemp("three")
    orders = (LABELS, LABELS, ("c", "a", "b"))
    return [made(root / f"{n}", tokenizer, n, order) for n, order in enumerate(orders)]


def table(predictions: list[Any]) -> np.ndarray:
    """Probabilities in the order of the labels."""
    return np.array([[p.probabilities[label] for label in LABELS] for p in predictions])


def test_an_ensemble_predicts_the_mean_of_the_probabilities(three):
    alone = [table(Predictor.load(folder)(TEXTS)) for folder in three]
    together = Predictor.load(three)(TEXTS)
    assert np.abs(alone[0] - alone[2]).max() > 0.1
    np.testing.assert_allclose(table(together), np.mean(alone, 0), atol=1e-6)
    assert [p.label for p in together] == [LABELS[i] for i in np.mean(alone, 0).argmax(-1)]


def test_an_ensemble_of_one_is_the_model(three):
    assert Predictor.load(three[:1])(TEXTS) == Predictor.load(three[0])(TEXTS)


def test_an_ensemble_is_evaluated_and_predicts_on_the_command_line(
    three, tmp_path, monkeypatch, capfd
):
    data = tmp_path / "data.tsv"
    data.write_text("text\tlabel\n" + "".join(f"{t}\ta\n" for t in TEXTS))
    right = [p.label == "a" for p in Predictor.load(three)(TEXTS)]
    found = evaluate_folder(three, str(data), quiet=True)
    assert found.metric.scores()["accuracy"] == pytest.approx(np.mean(right))
    monkeypatch.setattr("plainformer.finetune.report.page.draw", lambda _: {})
    names, out = map(str, three), str(tmp_path / "report")
    assert main(["evaluate", *names, "--data", str(data), "--out", out]) == 0
    saved = read_json(tmp_path / "report" / "metrics.json")
    assert saved["evaluated"]["model"] == " + ".join(map(str, three))
    capfd.readouterr()
    assert main(["predict", *map(str, three), "--text", *TEXTS]) == 0
    assert capfd.readouterr().out.count("\n") == len(TEXTS)


@pytest.mark.parametrize("name", TASKS)
def test_models_that_agree_predict_together_as_alone(name):
    """Of every task; and with a third model the mean is another."""
    task, model, items = ready(name, 0.0)
    other = randomise(TASKS[name](0.0)[1].double(), seed=5)
    batch = Batch.of(items)
    with torch.no_grad():
        alone = task.outputs(model.eval(), batch)
        both = Ensemble([task, task], [model, model]).outputs(batch, 3.0)
        mixed = Ensemble([task, task], [model, other]).outputs(batch, 3.0)
    if name == "scored_pairs":
        torch.testing.assert_close(cosines(both), cosines(alone))
        return
    assert abs(float(task.divergence(both, alone, batch, 3.0).total)) < 1e-6
    assert float(task.divergence(mixed, alone, batch, 3.0).total) > 1e-5


def test_tags_are_those_of_the_mean_probabilities_or_of_the_mean_scores():
    for name in ("tagging", "crf"):
        task, model, items = ready(name, 0.0)
        other = randomise(TASKS[name](0.0)[1].double(), seed=5)
        batch = Batch.of(items)
        with torch.no_grad():
            one, two = (task.outputs(m, batch) for m in (model, other))
            both = task.average([one, two])
        if name == "tagging":
            wanted = (one.logits.softmax(-1) + two.logits.softmax(-1)) / 2
            torch.testing.assert_close(both.logits.softmax(-1), wanted)
        else:
            tags = torch.zeros(len(one.logits), dtype=torch.int64)
            scores = [o.chain.like(o.logits).score(o.logits, tags, o.sentences) for o in (one, two)]
            ours = both.chain.like(both.logits).score(both.logits, tags, both.sentences)
            torch.testing.assert_close(ours, (scores[0] + scores[1]) / 2)
        assert len(task.predict(both, batch)) == len(items)


def test_vectors_of_other_sizes_are_joined_and_compared_by_their_cosines(tokenizer):
    task = SentenceEmbedding(scale=(0.0, 1.0), max_length=16)
    _, _, items = ready("scored_pairs", 0.0)
    batch = Batch.of(items)
    shape = replace(tiny.shape("bert", tokenizer), hidden_size=48)
    wide, narrow = (
        randomise(SentenceEncoder(Encoder(s))) for s in (shape, tiny.shape("bert", tokenizer))
    )
    with torch.no_grad():
        outputs = [task.outputs(model.eval(), batch) for model in (wide, narrow)]
    joint = task.average(outputs)
    wanted = (cosines(outputs[0]) + cosines(outputs[1])) / 2
    torch.testing.assert_close(cosines(joint), wanted, atol=1e-6, rtol=0)
    apart = task.divergence(outputs[1], joint, batch)
    errors = (cosines(outputs[1]) - wanted).square()
    assert float(apart.total) == pytest.approx(float(errors.mean(-1).sum() / 2), rel=1e-4)


@pytest.mark.parametrize("kind", ["classification", "multi_label", "crf", "prompt"])
def test_labels_are_reordered_in_head_and_task(kind):
    task, model, items = ready(kind, 0.0)
    labels = tuple(reversed(task.labels))
    batch = Batch.of(items)
    if kind == "multi_label":
        task = replace(task, thresholds=(0.1, 0.5, 0.9))
    with torch.no_grad():
        before = task.predict(task.outputs(model.eval(), batch), batch)
        moved = with_label_order(task, model, labels)
        after = moved.predict(moved.outputs(model, batch), batch)
    assert moved.labels == labels and getattr(model, "labels", labels) == labels
    for one, other in zip(before, after, strict=True):
        if kind == "crf":
            assert one.tags == other.tags and one.scores == pytest.approx(other.scores, abs=1e-6)
        elif kind == "multi_label":
            assert set(one.labels) == set(other.labels)
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
        else:
            assert one.label == other.label
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


# Soups


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_soup_is_torchs_mean_with_labels_in_one_order(three, tmp_path):
    soup(three, tmp_path / "soup")
    mixed = weights(tmp_path / "soup")
    states = [weights(folder) for folder in three]
    order = [("c", "a", "b").index(label) for label in LABELS]
    for name in ("classifier.weight", "classifier.bias"):
        states[2][name] = states[2][name][order]
    for name, tensor in mixed.items():
        wanted = torch.stack([state[name].double() for state in states]).mean(0)
        torch.testing.assert_close(tensor, wanted.float(), atol=1e-7, rtol=0, msg=name)
    assert Predictor.load(tmp_path / "soup").task.labels == LABELS


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_soup_of_equal_models_is_the_model_bit_for_bit(three, count):
    one = Finetuned.load(three[0])
    mixed = mean_weights([one] * count)
    before, after = one.model.state_dict(), mixed.model.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_a_greedy_soup_is_never_worse_than_the_best_run(three):
    """On random models and random truths: the score of the soup is at least the best one."""
    members = [Finetuned.load(folder) for folder in three[:2]]
    members += [replace(members[0], folder=Path("x"), model=members[1].model)]
    grew = 0
    for seed in range(5):
        truth = np.random.default_rng(seed).choice(LABELS, len(TEXTS))

        def measure(member: Finetuned, truth: Any = truth) -> Any:
            predictor = Predictor(member.task, member.model.eval(), member.tokenizer)
            metric = member.task.metric()
            for text, label, said in zip(TEXTS, truth, predictor(TEXTS), strict=True):
                metric.add(label, said.label, said.probabilities, "f:1", text)
            return metric

        found = greedy(members, measure)
        assert found.metric.accuracy >= max(found.scores.values())
        assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
        assert found.metric.accuracy == measure(found.model).accuracy
        grew += len(found.used) > 1
    assert grew


@pytest.fixture(scope="module")
def runs(models, files, one_thread, tmp_path_factory) -> list[Path]:
    """A run of LoRA and one of all weights, from one model."""
    root = tmp_path_factory.mktemp("runs")
    found = []
    for seed, lora in enumerate((4, 0)):
        config = FinetuneConfig(
            model=models["bert"],
            train=files("train"),
            valid=files("valid"),
            out=root / f"{seed}",
            epochs=0.1,
            max_length=32,
            tuning=TuningOptions(lora=lora),
            training=LoopConfig(seed=seed, learning_rate=1e-2, eval_every=0),
        )
        finetune(config, quiet=True)
        found.append(config.out)
    return found


def test_adapters_are_merged_into_the_soup(runs, files, tmp_path, capfd):
    options = ["--data", files("valid"), "--out", str(tmp_path / "soup")]
    assert main(["soup", *map(str, runs), *options]) == 0
    assert "in the soup" in capfd.readouterr().out
    assert not (tmp_path / "soup" / "adapter_config.json").exists()
    scores = [evaluate_folder(f, files("valid"), quiet=True).metric.accuracy for f in runs]
    mixed = evaluate_folder(tmp_path / "soup", files("valid"), quiet=True).metric
    assert mixed.accuracy >= max(scores)
    assert read_json(tmp_path / "soup" / "metrics.json")["valid"]["accuracy"] == mixed.accuracy


def test_what_cannot_be_mixed_is_refused(three, runs, tokenizer, tmp_path, models):
    out = tmp_path / "soup"
    other = made(tmp_path / "other", tokenizer, 3, ("a", "b", "d"))
    many = made(tmp_path / "many", tokenizer, 3, kind=MultiLabel)
    longer = made(tmp_path / "longer", tokenizer, 3)
    write_json(longer / "task.json", {**read_json(longer / "task.json"), "max_length": 16})
    spelled = made(tmp_path / "spelled", tiny.make_tokenizer("unigram"), 3)
    for folder, fault in (
        (other, "the label 'c' of .*0 is not among those of .*other"),
        (many, "many was fine-tuned for multi-label, not for classification as .*0"),
        (longer, "max_length is 16 in .*longer, and 32 in .*0"),
        (spelled, "spelled has another tokenizer than .*0"),
        (three[0], "is given twice"),
    ):
        with pytest.raises(UserError, match=fault):
            Predictor.load([three[0], folder])
        with pytest.raises(UserError, match=fault):
            soup([three[0], folder], out)
    with pytest.raises(UserError, match="at least two runs"):
        soup(three[:1], out)
    deep = replace(tiny.shape("bert", tokenizer), num_hidden_layers=2)
    write_folder(
        tmp_path / "deep",
        Classification(labels=LABELS, max_length=32),
        SequenceClassifier(deep, LABELS),
        tokenizer,
    )
    with pytest.raises(UserError, match=r"deep and .*0 differ in architecture"):
        soup([three[0], tmp_path / "deep"], out)
    moved = shutil.copytree(runs[1], tmp_path / "moved")
    options = read_json(moved / "options.json")
    write_json(moved / "options.json", {**options, "model": "elsewhere"})
    with pytest.raises(UserError, match=r"moved began from elsewhere, and .* from .*bert"):
        soup([runs[1], moved], out)
    assert not out.exists()


def test_thresholds_are_averaged_and_one_without_is_refused(three):
    given = Finetuned.load(three[0])
    task = MultiLabel(labels=("a", "b"), max_length=8)
    one, two = (
        replace(given, folder=Path(name), task=replace(task, thresholds=thresholds))
        for name, thresholds in (("one", (0.2, 0.4)), ("two", (0.4, 0.8)))
    )
    assert mean_task([one, two]).thresholds == pytest.approx((0.3, 0.6))
    none = replace(two, task=replace(two.task, thresholds=()))
    with pytest.raises(UserError, match="two has no tuned thresholds, and others have"):
        mean_task([one, none])
