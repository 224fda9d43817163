"""Several tasks on one encoder: its gradients, its draws, its folder, its runs."""

import copy
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from plainformer.__main__ import main
from plainformer.base import UserError, read_json, write_json, write_text
from plainformer.encoder import (
    ChoiceScorer,
    MaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import read_tensors
from plainformer.finetune import Predictor, RobustOptions, TuningOptions, finetune
from plainformer.finetune.multitask import (
    MultitaskConfig,
    SeveralHeads,
    TaskOrder,
    load_several,
    multitask,
    probabilities,
    save_heads,
)
from plainformer.finetune.multitask.data import TaskBatch, several_objective
from plainformer.finetune.task_objective import task_objective
from plainformer.finetune.tasks.classification import Classification
from plainformer.options import load
from plainformer.training import LoopConfig
from tests.encoder.tools import assert_close
from tests.finetune import gradients
from tests.pretrain import tiny
from tests.processes import run_on_processes

TRAINING = LoopConfig(learning_rate=1e-2, eval_every=4, checkpoint_every=4, keep=9, device="cpu")
HEADS: dict[str, Any] = {
    "classifier": lambda f: SequenceClassifier.from_pretrained(f, labels=["a", "b", "c"]),
    "other": lambda f: SequenceClassifier.from_pretrained(f, labels=["x", "y"]),
    "tagger": lambda f: TokenClassifier.from_pretrained(f, labels=["O", "B-X", "I-X"]),
    "questions": lambda f: QuestionAnswerer.from_pretrained(f, new_head=True),
    "choice": lambda f: ChoiceScorer.from_pretrained(f, new_head=True),
    "masked": MaskedLM.from_pretrained,
    "vectors": SentenceEncoder.from_pretrained,
}


def heads(folder: Path, *names: str) -> dict[str, PretrainedModel]:
    """Models with these heads, each on an encoder of its own, from the same folder."""
    found = {}
    for name in names or HEADS:
        torch.manual_seed(0)  # so that all new poolers are the same
        found[name] = HEADS[name](folder)
    return found


def flat(outputs: Any) -> torch.Tensor:
    """The outputs of a head as one tensor."""
    return torch.stack(outputs) if isinstance(outputs, tuple) else outputs


# The model


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_all_heads_compute_on_one_encoder_what_they_computed_alone(models, tokenizer, architecture):
    alone = heads(models[architecture])
    several = SeveralHeads(copy.deepcopy(alone)).eval()
    batch = tokenizer.batch(tiny.sentences(3))
    together = several(**batch)
    assert len({id(model.base) for model in several.tasks.values()}) == 1
    for name, model in alone.items():
        wanted = flat(model(**batch))
        assert torch.equal(flat(several.tasks[name](**batch)), wanted), name
        assert_close(flat(together[name]), wanted, 1e-6)  # of all tokens, or of those it reads


def test_heads_of_other_encoders_are_refused(models):
    with pytest.raises(UserError, match="the encoder of b has another shape"):
        SeveralHeads({"a": heads(models["bert"], "tagger")["tagger"],
                      "b": heads(models["modern"], "tagger")["tagger"]})  # fmt: skip


@pytest.mark.parametrize("robust", [RobustOptions(), RobustOptions(fgm=1.0, rdrop=0.5)])
def test_the_gradients_of_a_step_are_those_of_its_task_alone(robust):
    other = Classification(labels=("x", "y", "z"), max_length=16)
    tasks = {"one": gradients.TASK, "two": other}
    first = gradients.classifier()
    models = {"one": first, "two": copy.deepcopy(first)}
    alone = copy.deepcopy(models["two"])
    several = SeveralHeads(models)
    batch = gradients.batch_of()
    objective = several_objective(tasks, robust)
    plain = several_objective({"two": other}, robust)
    theirs = gradients.gradients(SeveralHeads({"two": alone}), plain, TaskBatch("two", batch))
    ours = gradients.gradients(several, objective, TaskBatch("two", batch))
    named = {id(p): n for n, p in several.tasks["two"].named_parameters()}
    names = {n: named[id(p)] for n, p in several.named_parameters() if p.grad is not None}
    found = {f"models.0.{names[n]}": g for n, g in ours[1].items()}
    gradients.assert_same((ours[0], found), theirs)
    if robust == RobustOptions():
        wanted = gradients.gradients(alone, task_objective(other), batch)
        gradients.assert_same(ours, (wanted[0], {n: wanted[1][names[n]] for n in names}))
    assert models["one"].classifier.weight.grad is None


def test_the_metrics_bear_the_name_of_the_task():
    several = SeveralHeads({"one": gradients.classifier()})
    objective = several_objective({"one": gradients.TASK}, RobustOptions())
    (loss,) = gradients.losses_of(several, objective, TaskBatch("one", gradients.batch_of()))
    assert loss.metrics.keys() == {"one/loss", "one/accuracy"}
    assert loss.metrics["one/loss"] == loss.total


# The draw of tasks


def test_a_temperature_flattens_the_shares():
    sizes = [900, 100]
    np.testing.assert_allclose(probabilities(sizes, 1), [0.9, 0.1])
    np.testing.assert_allclose(probabilities(sizes, 2), [0.75, 0.25])
    np.testing.assert_allclose(probabilities(sizes, 1e6), [0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(probabilities(sizes, 1e-3), [1, 0], atol=1e-12)


def test_a_draw_is_a_function_of_seed_and_step():
    shares = np.array([0.6, 0.3, 0.1])
    order, again, other = (TaskOrder(shares, seed) for seed in (3, 3, 4))
    backwards = [again(step) for step in reversed(range(2000))][::-1]
    drawn = [order(step) for step in range(2000)]
    assert drawn == backwards != [other(step) for step in range(2000)]
    tasks = [task for task, _ in drawn]
    np.testing.assert_allclose(np.bincount(tasks) / 2000, shares, atol=0.03)
    for task in range(3):  # each task's batches in order, none left out
        assert [b for t, b in drawn if t == task] == list(range(tasks.count(task)))


# The folder


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_each_folder_opens_alone_with_the_tensors_of_its_model(
    models, tokenizer, tmp_path, architecture
):
    names = ("tagger", "classifier") + ("masked", "vectors") * (architecture == "bert")
    several = SeveralHeads(heads(models[architecture], *names))
    several.save_pretrained(tmp_path / "all")
    files = {(tmp_path / "all" / name / "encoder.safetensors").stat().st_ino for name in names}
    assert len(files) == 1
    shutil.copytree(tmp_path / "all", tmp_path / "copy")
    batch = tokenizer.batch(tiny.sentences(3))
    for name, model in heads(models[architecture], *names).items():
        model.save_pretrained(tmp_path / name)
        opened = type(model).from_pretrained(tmp_path / "copy" / name)
        assert torch.equal(flat(opened(**batch)), flat(several.tasks[name](**batch))), name
        own, alone = (read_tensors(f) for f in (tmp_path / "all" / name, tmp_path / name))
        if name == "vectors":  # named as under a head, with the pooler of the shared encoder
            own = {k.partition(".")[2]: t for k, t in own.items() if ".pooler." not in k}
        assert same(own, alone), name


def test_transformers_opens_each_folder_and_misses_nothing(models, tokenizer, tmp_path):
    several = SeveralHeads(heads(models["bert"], "tagger", "classifier", "vectors"))
    save_heads(several.tasks, tmp_path)
    batch = tokenizer.batch(tiny.sentences(2))
    classes = {
        "tagger": transformers.AutoModelForTokenClassification,
        "classifier": transformers.AutoModelForSequenceClassification,
        "vectors": transformers.AutoModel,
    }
    for name, kind in classes.items():
        model, loaded = kind.from_pretrained(tmp_path / name, output_loading_info=True)
        missing = [key for key in loaded["missing_keys"] if not key.startswith("pooler.")]
        assert not missing and not loaded["unexpected_keys"], name
        if name == "vectors":
            continue
        with torch.no_grad():
            logits = model(**batch).logits
        real = batch["attention_mask"].bool() if name == "tagger" else slice(None)
        ours = several.tasks[name](**batch)
        torch.testing.assert_close(logits[real], ours[real], rtol=1e-5, atol=1e-5)


def test_where_there_are_no_hard_links_the_encoder_is_copied(models, tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    save_heads(SeveralHeads(heads(models["bert"], "tagger", "masked")).tasks, tmp_path)
    one, two = (tmp_path / name / "encoder.safetensors" for name in ("tagger", "masked"))
    assert one.stat().st_ino != two.stat().st_ino and one.read_bytes() == two.read_bytes()


# Runs


def tag_file(path: Path, count: int, seed: int) -> Path:
    """Sentences in which the animal is an entity."""
    rows = []
    for text in tiny.sentences(count, seed):
        words = text.split()
        rows.append({"words": words, "tags": ["B-X" if i == 2 else "O" for i in range(len(words))]})
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def sections(files, tmp_path_factory) -> dict[str, Any]:
    """The sections of a file of two tasks."""
    folder = tmp_path_factory.mktemp("tags")
    names = {split: str(tag_file(folder / f"{split}.jsonl", n, n)) for split, n in
             (("train", 60), ("valid", 20))}  # fmt: skip
    own = {"batch_size": 13, "max_length": 32}
    return {
        "kind": {"train": files("train"), "valid": files("valid"), "per_label": 30, **own},
        "names": {"task": "tagging", **names, "crf": True, **own},
    }


def settings(models, sections: Any, out: Path, **changes: Any) -> MultitaskConfig:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out.with_suffix(".json"), sections)
    return MultitaskConfig(
        **{
            "model": models["bert"],
            "tasks": out.with_suffix(".json"),
            "out": out,
            "epochs": 1.0,
            "accumulate": 2,
            "training": TRAINING,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def unbroken(models, sections, one_thread, tmp_path_factory) -> MultitaskConfig:
    """A run on two tasks."""
    config = settings(models, sections, tmp_path_factory.mktemp("several") / "run", epochs=2.5)
    outcome = multitask(config, quiet=True)
    scores = read_json(config.out / "metrics.json")["valid"]
    assert outcome.score == pytest.approx((scores["kind"]["accuracy"] + scores["names"]["f1"]) / 2)
    return config


def weights(out: Path, *names: str) -> dict[str, torch.Tensor]:
    """All tensors in the folders of the tasks."""
    return {f"{name}/{key}": t for name in names for key, t in read_tensors(out / name).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


def test_both_tasks_are_learned_and_the_best_mean_is_kept(unbroken):
    rows = [json.loads(line) for line in (unbroken.out / "log.jsonl").read_text().splitlines()]
    found = [row["evaluation"] for row in rows if "evaluation" in row]
    best = max(found, key=lambda row: row["score"])
    assert best["score"] == pytest.approx((best["kind/accuracy"] + best["names/f1"]) / 2)
    scores = read_json(unbroken.out / "metrics.json")["valid"]
    assert scores["kind"]["accuracy"] == best["kind/accuracy"] > 0.7
    assert scores["names"]["f1"] == best["names/f1"] > 0.7
    drawn = [name for row in rows for name in ("kind", "names") if f"{name}/loss" in row]
    assert {"kind", "names"} == set(drawn) and len(drawn) == len(rows) - len(found)


def test_each_head_alone_predicts_as_on_the_shared_encoder(unbroken, capsys):
    several = load_several(unbroken.out)
    assert several["kind"].model.base is several["names"].model.base
    texts = tiny.sentences(4, 9)
    for name, predictor in several.items():
        assert predictor(texts) == Predictor.load(unbroken.out / name)(texts)
    assert main(["evaluate", str(unbroken.out / "names"), "--data", several_valid(unbroken)]) == 0
    assert main(["predict", str(unbroken.out), "--text", "a"]) == 2
    assert f"such as {unbroken.out / 'kind'}" in capsys.readouterr().err
    assert main(["runs", str(unbroken.out)]) == 0
    shown = capsys.readouterr().out
    assert "finetune several tasks" in shown and "tagging" not in shown


def several_valid(config: MultitaskConfig) -> str:
    return str(config.read_tasks()["names"]["valid"])


def test_heads_that_were_trained_on_are_not_put_on_one_encoder(unbroken, tmp_path):
    shutil.copytree(unbroken.out, tmp_path / "run")
    alone = Predictor.load(unbroken.out / "names").task.load(unbroken.out / "names")
    with torch.no_grad():
        next(alone.base.parameters()).mul_(2)
    for path in (tmp_path / "run" / "names").glob("*.safetensors*"):
        if path.name != "crf.safetensors":
            path.unlink()
    alone.saved.save_pretrained(tmp_path / "run" / "names")
    with pytest.raises(UserError, match="names has another encoder than kind"):
        load_several(tmp_path / "run")


def test_a_resumed_run_is_the_unbroken_one(unbroken, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(unbroken.out, out)
    (out / "metrics.json").unlink()
    for name in ("kind", "names"):
        for path in (out / name).glob("*.safetensors"):
            path.unlink()
    steps = sorted((out / "checkpoints").glob("step-*"))
    for folder in steps[len(steps) // 2 :]:
        shutil.rmtree(folder)
    config = replace(unbroken, out=out, resume=True, tasks=out / "tasks.json")
    multitask(config, quiet=True)
    assert (out / "log.jsonl").read_bytes() == (unbroken.out / "log.jsonl").read_bytes()
    for file in ("metrics.json", *(f"{n}/{f}.safetensors" for n in ("kind", "names") for f in
                                   ("encoder", "head"))):  # fmt: skip
        assert (out / file).read_bytes() == (unbroken.out / file).read_bytes(), file


def test_one_task_is_the_run_of_finetune(models, sections, tmp_path):
    config = settings(models, {"kind": sections["kind"]}, tmp_path / "several")
    outcome = multitask(config, quiet=True)
    single = config.of_task("kind", config.read_tasks()["kind"])
    alone = finetune(replace(single, out=tmp_path / "alone"), quiet=True)
    assert outcome.score == alone.score
    assert same(read_tensors(tmp_path / "alone"), read_tensors(config.out / "kind"))


def test_methods_combine(models, sections, tmp_path):
    config = settings(
        models,
        sections,
        tmp_path / "run",
        tuning=TuningOptions(lora=2),
        robust=RobustOptions(fgm=0.5, ema=0.9, l2_sp=0.01),
        epochs=0.5,
    )
    multitask(config, quiet=True)
    assert not list(config.out.glob("*/encoder.safetensors"))
    one, two = (load_file(config.out / n / "adapter_model.safetensors") for n in sections)
    lora = [name for name in one if "lora_B" in name]
    assert lora and all(torch.equal(one[name], two[name]) and one[name].any() for name in lora)
    texts = tiny.sentences(3, 9)
    for name, predictor in load_several(config.out).items():
        assert predictor(texts) == Predictor.load(config.out / name)(texts)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "has no tasks"),
        ("[a]\ntrain = 1 2", "not TOML"),
        ('train = "x"', "train is in no section"),
        ('["a b"]\ntrain = "x"', "cannot name a folder"),
        ('[checkpoints]\ntrain = "x"', "cannot name a folder"),
        ('[a]\ntask = "tageing"', r"\[a\]: task must be one of"),
        ('[a]\ntask = "tagging"', r"\[a\]: missing fields train"),
        ('[a]\ntrain = "x"\ncolums = []', "no option 'colums' of its own; did you mean columns"),
        ('[a]\ntrain = "x"\ncrf = true', "classification has no option 'crf'"),
        ('[a]\ntrain = "x"\ndropout = 0.2', "for all tasks: give it as --dropout"),
        ('[a]\ntrain = "x"\nlearning_rate = 0.1', "for all tasks: give it as --learning-rate"),
        ('[a]\ntrain = "x"\nbatch_size = "3"', "batch_size must be a whole number"),
        ('[a]\ntrain = "x"\nper_label = -1', r"\[a\]: per_label must be at least 0"),
        ('[a]\ntrain = "nothing-here.csv"', "nothing-here.csv"),
        ('[a]\ntrain = "x"\ncontrastive = 20', r"\[a\]: contrastive trains a model of its own"),
    ],
)
def test_a_fault_in_the_file_of_tasks_is_named(models, tmp_path, content, fault):
    write_text(tmp_path / "tasks.toml", content)
    out = tmp_path / "run"
    config = MultitaskConfig(model=models["bert"], tasks=tmp_path / "tasks.toml", out=out)
    with pytest.raises(UserError, match=fault):
        multitask(config, quiet=True)
    assert not out.exists()


def test_another_run_is_not_overwritten_nor_continued_with_other_tasks(unbroken, tmp_path):
    with pytest.raises(UserError, match="already holds a run: --resume it"):
        multitask(unbroken, quiet=True)
    sections = unbroken.read_tasks()
    sections["names"]["crf"] = False
    write_json(tmp_path / "other.json", sections)
    other = replace(unbroken, resume=True, tasks=tmp_path / "other.json")
    with pytest.raises(UserError, match="was started with other tasks"):
        multitask(other, quiet=True)
    write_json(tmp_path / "other.json", dict(reversed(unbroken.read_tasks().items())))
    with pytest.raises(UserError, match="another order of them"):
        multitask(other, quiet=True)
    with pytest.raises(UserError, match=r"temperature=2\.0, not 3\.0"):
        multitask(replace(unbroken, resume=True, temperature=3.0), quiet=True)
    with pytest.raises(UserError, match="temperature must be above 0"):
        replace(unbroken, temperature=0)


@pytest.mark.slow
@pytest.mark.parametrize("robust", [RobustOptions(), RobustOptions(fgm=0.5)])
def test_two_processes_take_the_steps_of_one(models, sections, tmp_path, robust):
    one = settings(models, sections, tmp_path / "one", robust=robust)
    multitask(one, quiet=True)
    two = replace(one, out=tmp_path / "two")
    write_json(tmp_path / "two.options.json", asdict(two))
    run_on_processes(2, "tests.finetune.test_multitask", [str(tmp_path / "two.options.json")], 300)
    found, wanted = (weights(run.out, "kind", "names") for run in (two, one))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    multitask(load(MultitaskConfig, Path(sys.argv[1])), quiet=True)
