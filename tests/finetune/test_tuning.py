"""Tuned runs from end to end: what is frozen stays bit for bit, on one process, on two, resumed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.finetune import (
    ClassificationOptions,
    FinetuneConfig,
    Predictor,
    RobustOptions,
    TuningOptions,
    finetune,
)
from plainformer.finetune.continual import ContinualOptions
from plainformer.finetune.tasks.prompt import PromptOptions
from plainformer.options import parse
from plainformer.training import LoopConfig
from tests.finetune import test_distributed as distributed

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"lora": 4, "lora_dropout": 0.1},
    "dora": {"lora": 4, "dora": True, "lora_targets": ("all",)},
    "ia3": {"ia3": True},
    "adapters": {"adapters": 6, "adapters_twice": True},
    "prefix": {"prefix": 3},
    "soft prompt": {"soft_prompt": 3},
    "adalora": {"adalora": 4},
}
ADDED = (".lora_", ".ia3_l", ".adapter.", ".attention.keys", ".attention.values", ".soft_prompt.")
EACH = pytest.mark.parametrize("name", METHODS)


def settings(models, files, out: Path, **tuning: Any) -> FinetuneConfig:
    """Eight steps of 13 examples, evaluated twice."""
    task = ClassificationOptions(per_label=26)
    config = distributed.settings(models, files, out, task=task, epochs=2.0)
    training = replace(
        config.training,
        learning_rate=0.02 if "ia3" in tuning else 0.1,
        eval_every=4,
        checkpoint_every=4,
        weight_decay=0.5,
    )
    return replace(config, training=training, tuning=TuningOptions(**tuning))


@pytest.fixture(scope="module")
def runs(models, files, one_thread, tmp_path_factory) -> Path:
    """A run of each method, and half of one ended by another."""
    folder = tmp_path_factory.mktemp("tuned")
    for name, tuning in METHODS.items():
        finetune(settings(models, files, folder / "one" / name, **tuning), quiet=True)
        begun = distributed.begun(folder / "one" / name, folder / "resumed" / name, 4)
        resumed = settings(models, files, begun, **tuning)
        finetune(replace(resumed, resume=True), quiet=True)
    return folder


@pytest.fixture(scope="module")
def on_two(models, files, runs) -> Path:
    """The folder of `runs`, with a run of each method on two processes."""
    two = [settings(models, files, runs / "two" / n, **tuning) for n, tuning in METHODS.items()]
    distributed.run_on(2, two, runs)
    return runs


def last_checkpoint(run: Path) -> dict[str, Any]:
    return load_file(run / "checkpoints" / "step-00000008" / "model.safetensors")


@pytest.mark.slow
@EACH
def test_two_processes_take_the_steps_of_one(on_two, name):
    distributed.assert_alike(on_two / "one" / name, on_two / "two" / name)


@EACH
def test_the_folder_holds_what_was_added_and_the_head_alone(runs, name):
    run = runs / "one" / name
    assert not (run / "model.safetensors").exists() and not (run / "config.json").exists()
    added = load_file(run / "adapter_model.safetensors")
    others = {key.rpartition(".")[0] for key in added if not any(a in key for a in ADDED)}
    # The base was pretrained without a pooler: it is part of the head.
    assert others == {f"base_model.model.{name}" for name in ("classifier", "bert.pooler.dense")}
    assert (run / "tokenizer.json").exists() and (run / "task.json").exists()


@EACH
def test_a_resumed_run_is_the_one_that_was_not_stopped(runs, name):
    one, resumed = (last_checkpoint(runs / which / name) for which in ("one", "resumed"))
    assert one.keys() == resumed.keys()
    assert all(tensor.equal(resumed[key]) for key, tensor in one.items())
    scores = [(runs / which / name / "metrics.json").read_bytes() for which in ("one", "resumed")]
    assert scores[0] == scores[1]


@EACH
def test_what_is_frozen_stays_bit_for_bit(models, runs, name):
    base = load_file(models["bert"] / "model.safetensors")
    trained = last_checkpoint(runs / "one" / name)
    kept = 0
    for key, tensor in trained.items():
        place = key.removeprefix("encoder.")
        if "qkv.weight" in key:
            theirs = f"bert.encoder.layer.{place.split('.')[1]}.attention.self"
            parts = tensor.chunk(3)
            for part, which in zip(parts, ("query", "key", "value"), strict=True):
                assert part.equal(base[f"{theirs}.{which}.weight"])
                kept += 1
        elif place == "embeddings.tokens.weight":
            assert tensor.equal(base["bert.embeddings.word_embeddings.weight"])
            kept += 1
    assert kept == 3 * sum("qkv.weight" in key for key in trained) + 1 > 1
    start = {".b.": 0.0, ".scales.": 1.0, ".adapter.up.": 0.0, ".e.": 0.0}
    start |= {".attention.values": 0.0, ".soft_prompt.": 0.0}
    added = {key: value for key in trained for place, value in start.items() if place in key}
    assert added and all((trained[key] != value).any() for key, value in added.items())


@EACH
def test_the_folder_predicts_what_the_run_measured(files, runs, name):
    run = runs / "one" / name
    lines = Path(files("valid")).read_text().splitlines()[1:]
    texts, labels = zip(*(line.split("\t") for line in lines), strict=True)
    found = [prediction.label for prediction in Predictor.load(run, "cpu")(texts)]
    right = sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)
    scores = json.loads((run / "metrics.json").read_text())["valid"]
    assert right == pytest.approx(scores["accuracy"])


def test_the_command_line_has_the_options(tmp_path):
    words = f"--model {tmp_path} --train t.tsv --out o --lora 8 --lora-alpha 4 --dora"
    config = parse(FinetuneConfig, "finetune", [*words.split(), "--lora-targets", "query", "up"])
    wanted = TuningOptions(lora=8, lora_alpha=4.0, dora=True, lora_targets=("query", "up"))
    assert config.tuning == wanted


def test_the_table_is_printed(models, files, tmp_path, capsys):
    config = settings(models, files, tmp_path, lora=2)
    finetune(replace(config, epochs=0, training=LoopConfig(device="cpu")))
    printed = capsys.readouterr().err
    assert "added" in printed and "gradients and moments" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dora": True}, "dora adds to lora"),
        ({"lora": -1}, "lora must be at least 0"),
        ({"lora": 8, "lora_alpha": 0.0}, "lora_alpha"),
        ({"lora": 8, "lora_targets": ("quary",)}, "no layer 'quary'; did you mean query"),
        ({"lora": 8, "lora_targets": ()}, "lora_targets are empty"),
        ({"ia3": True, "lora_alpha": 99.0}, "lora_alpha is an option of lora or adalora"),
        ({"lora_targets": ("down",)}, "lora_targets is an option of lora or adalora"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        TuningOptions(**options)


def test_added_to_random_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="from_scratch"):
        FinetuneConfig(
            model=tmp_path,
            train="t",
            out=tmp_path,
            from_scratch=True,
            tuning=TuningOptions(lora=8),
        )


def test_a_layer_that_the_model_has_not_is_refused(models, files, tmp_path):
    with pytest.raises(UserError, match="no layer of the model is named 'gate'"):
        finetune(settings(models, files, tmp_path, lora=2, lora_targets=("gate",)), quiet=True)


def test_what_does_not_go_together_is_refused(models, files, tmp_path):
    given = {"model": models["bert"], "train": files("train"), "out": tmp_path / "run"}
    with pytest.raises(UserError, match="ascent_steps is an option of pgd or freelb"):
        RobustOptions(fgm=1.0, ascent_steps=9)
    with pytest.raises(UserError, match="buffer is an option of replay"):
        ContinualOptions(buffer=7)
    with pytest.raises(UserError, match="valid_share holds out examples without folds"):
        FinetuneConfig(**given, folds=3, valid_share=0.5)
    with pytest.raises(UserError, match="adalora sets numbers to 0"):
        FinetuneConfig(**given, tuning=TuningOptions(adalora=4), robust=RobustOptions(ema=0.9))
    with pytest.raises(UserError, match="template is one, templates are several"):
        PromptOptions(
            verbaliser="a=b,c=d", template="{text} [MASK]", templates=("{text} is [MASK]",)
        )
