"""The second stage from end to end: what is learned is what is saved, and what predicts."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError, read_json
from plainformer.encoder import MaskedLM, SequenceClassifier
from plainformer.encoder.ops.onednn import HAS_ONEDNN
from plainformer.encoder.prepack import PrepackedLinear
from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    Outcome,
    Predictor,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.finetune.length import with_length
from plainformer.finetune.prediction.predictor import encode_all, predict_stream
from plainformer.finetune.run import build
from plainformer.finetune.tasks.classification import Classification
from plainformer.tokenizer import load_tokenizer
from plainformer.training import LoopConfig
from tests.pictures import pictures
from tests.pretrain import tiny
from tests.processes import run_in_process

ROOT = Path(__file__).parents[2]
TRAINING = LoopConfig(learning_rate=1e-2, eval_every=0, checkpoint_every=0)


def settings(models, files, out: Path, architecture: str = "modern", **changes) -> FinetuneConfig:
    return FinetuneConfig(
        **{
            "model": models[architecture],
            "train": files("train"),
            "valid": files("valid"),
            "out": out,
            "epochs": 6.0,
            "batch_size": 16,
            "max_length": 32,
            "training": TRAINING,
            **changes,
        }
    )


@pytest.fixture(scope="module", params=["bert", "modern"])
def trained(request, one_thread, models, files, tmp_path_factory) -> tuple[FinetuneConfig, Outcome]:
    out = tmp_path_factory.mktemp("runs") / request.param
    config = settings(models, files, out, request.param)
    with pictures():
        return config, finetune(config, quiet=True)


def test_the_task_is_learned(trained):
    config, outcome = trained
    assert outcome.score > 0.97
    evaluation = evaluate_folder(config.out, config.train.replace("train", "test"))
    assert evaluation.metric.accuracy > 0.9 and evaluation.num_cut == 0
    assert outcome.num_cut == 0
    names = {path.name for path in config.out.iterdir()}
    assert names >= {"options.json", "metrics.json", "task.json", "log.jsonl", "curve.png"}
    assert names >= {"confusion.png", "roc.png", "calibration.png"}
    assert [name for name in names if name.startswith(".")] == [".plainformer"]


def test_what_is_saved_is_the_best(trained):
    """The accuracy of the folder is the one that was reported, monitored, and logged as best."""
    config, outcome = trained
    saved = evaluate_folder(config.out, config.valid).metric
    assert saved.accuracy == outcome.score == outcome.result.best["accuracy"]
    assert json.loads((config.out / "metrics.json").read_text()) == {"valid": saved.to_json()}
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    accuracies = {r["step"]: r["evaluation"]["accuracy"] for r in log if "evaluation" in r}
    assert max(accuracies.values()) == saved.accuracy == accuracies[outcome.result.best_step]


def test_a_reloaded_model_predicts_as_before(trained):
    """Same texts cut at the same length, same labels, same numbers."""
    config, _ = trained
    predictor = Predictor.load(config.out)
    task = Classification(labels=("beast", "bird"), max_length=config.max_length)
    assert predictor.task == task
    assert predictor.tokenizer.max_length == config.max_length
    examples = list(read_examples(Classification, config.valid, "valid"))
    best = SequenceClassifier(predictor.model.config, ("beast", "bird")).eval()
    best.load_state_dict(load_file(config.out / "checkpoints" / "best" / "model.safetensors"))
    pairs = encode_all(task, load_tokenizer(config.model), examples)
    wanted = [prediction for _, _, prediction in predict_stream(task, best, pairs)]
    for row, prediction in zip(wanted, predictor([e.text for e in examples]), strict=True):
        assert row.label == prediction.label
        assert row.probabilities == pytest.approx(prediction.probabilities, abs=1e-6)


def test_on_a_cpu_the_weights_are_prepacked(trained):
    layers = Predictor.load(trained[0].out, device="cpu").model.modules()
    assert any(isinstance(layer, PrepackedLinear) for layer in layers) == HAS_ONEDNN


def test_transformers_predicts_the_same(trained):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    config, _ = trained
    theirs = AutoModelForSequenceClassification.from_pretrained(config.out).eval()
    tokenizer = AutoTokenizer.from_pretrained(config.out)
    assert theirs.config.id2label == {0: "beast", 1: "bird"}
    assert tokenizer.model_max_length == config.max_length
    texts = [e.text for e in read_examples(Classification, config.valid, "valid")]
    texts += [" ".join(texts[:4])]  # to be cut
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    if config.model.name == "modern":
        inputs.pop("token_type_ids", None)
    with torch.no_grad():
        rows = theirs(**inputs).logits.softmax(-1)
    for row, prediction in zip(rows, Predictor.load(config.out)(texts), strict=True):
        assert prediction.label == theirs.config.id2label[int(row.argmax())]
        found = [prediction.probabilities[label] for label in ("beast", "bird")]
        assert found == pytest.approx(row.tolist(), abs=1e-4)


def test_options_say_what_was_run(trained):
    from plainformer.options import load

    config, outcome = trained
    saved = load(FinetuneConfig, config.out / "options.json")
    assert saved == config
    assert outcome.result.steps == 114


def test_the_first_text_of_a_batch_is_as_it_is_alone(trained):
    classifier = Predictor.load(trained[0].out)
    texts = [*tiny.sentences(30, seed=9), "", ("the cat .", "the owl ."), "the"]
    together = classifier(texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = classifier([text])
        assert alone.label == prediction.label
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


def test_unusual_inputs_are_predicted(trained):
    classifier = Predictor.load(trained[0].out)
    assert classifier([]) == []
    long = " ".join(tiny.sentences(50))
    predictions = classifier([long, "", "猫 ☕ \u200b", ("the cat", long), (long, long)])
    for prediction in predictions:
        values = list(prediction.probabilities.values())
        assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1, abs=1e-5)
        assert next(iter(prediction.probabilities)) == prediction.label
    ids = classifier.tokenizer.encode(long, max_length=classifier.task.max_length).ids
    cut = classifier.tokenizer.decode(ids)
    assert classifier([cut])[0].probabilities == pytest.approx(
        predictions[0].probabilities, abs=1e-6
    )


def test_early_stopping_waits_for_its_patience(models, files, tmp_path):
    """At a vanishing rate nothing is ever gained after the first evaluation."""
    training = replace(TRAINING, learning_rate=1e-12, patience=3, eval_every=2)
    outcome = finetune(settings(models, files, tmp_path / "run", training=training), quiet=True)
    assert outcome.result.stopped == "patience"
    assert (outcome.result.best_step, outcome.result.steps) == (2, 8)


def test_a_killed_run_goes_on_as_if_it_had_not_been(models, files, tmp_path):
    from dataclasses import asdict

    from plainformer.base import write_json

    training = replace(TRAINING, checkpoint_every=10)
    config = settings(models, files, tmp_path / "a", "bert", training=training)
    finetune(config, quiet=True)
    other = replace(config, out=tmp_path / "b")
    write_json(tmp_path / "options.json", asdict(other))
    options = str(tmp_path / "options.json")
    code, output = run_in_process("tests.programs.killed_finetuning", [options])
    assert code == -signal.SIGKILL, output
    assert (tmp_path / "b" / "checkpoints" / "step-00000020").is_dir()
    assert not (tmp_path / "b" / "model.safetensors").exists()
    finetune(replace(other, resume=True), quiet=True)
    for name in ("model.safetensors", "log.jsonl", "metrics.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_from_scratch_keeps_the_shape_and_forgets_the_weights(models, files, tokenizer, tmp_path):
    """Whatever the weights in the folder, the start is the same; the encoder's, too."""
    other = tmp_path / "other"
    torch.manual_seed(99)
    tiny.save_untrained(other, "modern", tokenizer)
    config = settings(models, files, tmp_path / "run", from_scratch=True)
    a, b, seeded, kept = (
        build(Classification(labels=("x", "y"), max_length=32), c).state_dict()
        for c in (
            config,
            replace(config, model=other),
            replace(config, training=replace(TRAINING, seed=5)),
            replace(config, from_scratch=False),
        )
    )
    theirs = MaskedLM.from_pretrained(config.model).state_dict()
    matrices = [name for name in a if a[name].ndim > 1]
    assert any(name.startswith("encoder.") for name in matrices)
    for name in a:
        assert torch.equal(a[name], b[name]), name
        assert a[name].shape == kept[name].shape
    for name in matrices:
        assert not torch.equal(a[name], seeded[name])
        assert not torch.equal(a[name], kept[name]) or name.startswith("classifier")
        if name in theirs:
            assert torch.equal(kept[name], theirs[name])


def test_few_examples_of_each_label_are_learned_from(models, files, tmp_path):
    task = ClassificationOptions(per_label=4)
    config = settings(models, files, tmp_path / "run", task=task, epochs=1.0, batch_size=8)
    assert finetune(config, quiet=True).result.steps == 1


def test_cut_texts_are_counted_and_stay_cut(models, files, tmp_path):
    config = settings(models, files, tmp_path / "run", max_length=8, epochs=0.3)
    assert finetune(config, quiet=True).num_cut == 300
    assert Predictor.load(config.out).task.max_length == 8
    assert evaluate_folder(config.out, files("test")).num_cut == 50


def test_pairs_are_learned(models, tmp_path):
    """Whether the second animal is the first: the text alone says nothing."""
    rng = np.random.default_rng(0)
    lines = ["text\tpair\tlabel"]
    for _ in range(40):
        a, b = rng.choice(["the cat", "the owl"], 2)
        lines.append(f"{a}\t{b}\t{'same' if a == b else 'other'}")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    config = FinetuneConfig(
        model=models["bert"],
        train=str(tmp_path / "pairs.tsv"),
        valid=str(tmp_path / "pairs.tsv"),
        out=tmp_path / "run",
        max_length=24,
        epochs=1.0,
        training=TRAINING,
    )
    outcome = finetune(config, quiet=True)
    assert sum(row["support"] for row in outcome.metric.per_label.values()) == 40


def test_a_folder_with_a_run_is_left_alone(trained, files):
    config, _ = trained
    before = {p: p.read_bytes() for p in config.out.iterdir() if p.is_file()}
    with pytest.raises(UserError, match="already holds a run: --resume it"):
        finetune(replace(config, batch_size=8), quiet=True)
    for changes, fault in (
        ({"batch_size": 8}, "batch_size=16, not 8"),
        ({"train": files("test")}, "train="),
        ({"training": replace(TRAINING, learning_rate=1e-3)}, "learning_rate=0.01, not 0.001"),
    ):
        with pytest.raises(UserError, match=fault):
            finetune(replace(config, resume=True, **changes), quiet=True)
    assert {p: p.read_bytes() for p in config.out.iterdir() if p.is_file()} == before


def test_the_pretrained_folder_is_never_written_into(models, files, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models["modern"], folder)
    config = replace(settings(models, files, folder), model=tmp_path / "x" / ".." / "model")
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="is the pretrained model"):
        finetune(config, quiet=True)
    assert {p.name for p in folder.iterdir()} == {p.name for p in models["modern"].iterdir()}


def test_the_default_length_is_cut_to_the_positions_of_the_model(models, files, tmp_path):
    config = settings(models, files, tmp_path / "run", max_length=0, epochs=0)
    assert finetune(config, quiet=True).max_length == 64
    assert read_json(config.out / "options.json")["max_length"] == 64
    assert with_length(config).max_length == 64
    assert with_length(replace(config, max_length=65)).max_length == 65


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"max_length": 65}, "max_length 65 is more than the 64 positions of the model in"),
        ({"model": Path("nowhere")}, "there is no folder nowhere"),
        ({"train": "nowhere.tsv"}, "no such file"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(models, files, tmp_path, changes, fault):
    with pytest.raises(UserError, match=fault):
        finetune(settings(models, files, tmp_path / "run", **changes), quiet=True)
    assert not (tmp_path / "run").exists()


def test_an_unseen_label_is_refused_before_any_work(models, files, tmp_path):
    (tmp_path / "valid.tsv").write_text("text\tlabel\nthe cat\tbird\nthe cod\tfish\n")
    config = settings(models, files, tmp_path / "run", valid=str(tmp_path / "valid.tsv"))
    with pytest.raises(UserError, match=r"valid\.tsv:3: the label 'fish' .*: beast, bird"):
        finetune(config, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_of_another_model_is_refused(models, files, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models["modern"], folder)
    tiny.make_tokenizer("bpe").save(folder)
    with pytest.raises(UserError, match="do not belong together"):
        finetune(settings({"modern": folder}, files, tmp_path / "run"), quiet=True)


def test_a_folder_without_a_classifier_does_not_predict(models, tmp_path):
    with pytest.raises(UserError, match=r"holds no task\.json"):
        Predictor.load(models["modern"])
    with pytest.raises(UserError, match="there is no folder"):
        Predictor.load(tmp_path / "none" / "at" / "all")
