"""Tasks one after the other: what each step leaves, resumed, extended, refused."""

import os
import shutil
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plainformer.__main__ import main
from plainformer.base import UserError, read_json, write_json, write_text
from plainformer.finetune import Predictor
from plainformer.finetune.continual import ContinualConfig, ContinualOptions, continual, step
from plainformer.finetune.multitask import load_several
from plainformer.options import load
from plainformer.training import LoopConfig
from tests.finetune.conftest import rows
from tests.processes import run_on_processes

ALL = ContinualOptions(ewc=100.0, lwf=1.0, replay=0.2, buffer=20)
TRAINING = LoopConfig(learning_rate=1e-2, eval_every=4, checkpoint_every=4, device="cpu")
WARM = ("red", "pink", "brown", "white")
TASKS = """
[animals]
train = "{train}"
valid = "{valid}"
batch_size = 13
max_length = 32
per_label = 20

[colours]
train = "{colours}"
batch_size = 13
max_length = 32
"""


@pytest.fixture(scope="module")
def tasks(files, tmp_path_factory) -> Path:
    """Two tasks: whether the animal is a bird, and whether the colour is warm."""
    folder = tmp_path_factory.mktemp("sequence")
    texts = [text for text, _ in rows(40, 5)]
    lines = [f"{text}\t{'warm' if text.split()[1] in WARM else 'cold'}\n" for text in texts]
    write_text(folder / "colours.tsv", "text\tlabel\n" + "".join(lines))
    named = {name: files(name) for name in ("train", "valid")}
    write_text(folder / "tasks.toml", TASKS.format(**named, colours=folder / "colours.tsv"))
    return folder / "tasks.toml"


def settings(models, tasks: Path, out: Path, **changes: Any) -> ContinualConfig:
    return ContinualConfig(
        **{
            "model": models["bert"],
            "tasks": tasks,
            "out": out,
            "epochs": 2.0,
            "accumulate": 2,
            "continual": ALL,
            "training": TRAINING,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def run(models, tasks, one_thread, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "all"
    continual(settings(models, tasks, out), quiet=True)
    return out


def weights(run: Path, number: int = 2, name: str = "colours") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{number}-{name}" / "weights.safetensors")


def assert_equal(one: Path, other: Path) -> None:
    """The same weights, bit for bit, and the same scores."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert read_json(one / "scores.json") == read_json(other / "scores.json")


def test_each_head_opens_alone_and_all_share_the_last_encoder(run):
    texts = [text for text, _ in rows(8, 9)]
    together = load_several(run)
    assert list(together) == list(read_json(run / "tasks.json")) == ["animals", "colours"]
    last = weights(run)
    for name, predictor in together.items():
        alone = Predictor.load(run / name)
        assert alone(texts) == predictor(texts)
        encoder = {n.removeprefix("models.0."): t for n, t in last.items() if ".encoder." in n}
        state = alone.task.load(run / name).state_dict()
        assert encoder and all(torch.equal(state[n], t) for n, t in encoder.items())
        labels = {prediction.label for prediction in alone(texts)}
        assert labels <= {"animals": {"bird", "beast"}, "colours": {"warm", "cold"}}[name]
    scores = read_json(run / "scores.json")
    assert list(scores["after"]) == ["animals", "colours"]
    assert scores["after"]["animals"]["animals"] > 0.6
    metrics = read_json(run / "metrics.json")["valid"]
    for name, value in scores["after"]["colours"].items():
        assert metrics[name]["accuracy"] == value
    assert (run / "scores.png").exists() and not list(run.glob("checkpoints/*/checkpoints"))


def test_a_killed_sequence_goes_on_where_it_was(models, tasks, run, tmp_path, monkeypatch):
    """It is killed within the first step and within the second."""
    out = tmp_path / "killed"
    cut = step.micro_batches
    for calls in (5, 5):
        left = iter(range(calls))

        def stopping(items: Any, count: int, left: Any = left) -> Any:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGINT)
            return cut(items, count)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(step, "micro_batches", stopping)
            continual(settings(models, tasks, out, resume=True), quiet=True)
    continual(settings(models, tasks, out, resume=True), quiet=True)
    assert_equal(run, out)


def test_a_finished_sequence_is_given_another_task(models, tasks, run, tmp_path):
    """The first task alone, then the second: as both at once."""
    out, first = tmp_path / "longer", tmp_path / "first.toml"
    write_text(first, tasks.read_text().partition("[colours]")[0])
    assert len(continual(settings(models, first, out), quiet=True).tasks) == 1
    assert Predictor.load(out / "animals")(["the red hen"])
    with pytest.raises(UserError, match="already holds a run: --resume it"):
        continual(settings(models, tasks, out), quiet=True)
    continual(settings(models, tasks, out, resume=True), quiet=True)
    assert_equal(run, out)


def test_other_options_and_another_order_are_refused(models, tasks, run, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(run, out)
    plain = settings(models, tasks, out, resume=True, continual=ContinualOptions())
    with pytest.raises(UserError, match=r"was started with ewc=100\.0, not 0\.0"):
        continual(plain, quiet=True)
    before, _, after = tasks.read_text().partition("[colours]")
    write_text(tmp_path / "other.toml", "[colours]" + after + before)
    with pytest.raises(UserError, match=r"has learned animals as task 1, and .* has not"):
        continual(settings(models, tmp_path / "other.toml", out, resume=True), quiet=True)


SENTENCES = """
[{name}]
task = "{task}"
train = "{file}"
"""


@pytest.mark.parametrize(
    ("task", "line", "options", "message"),
    [
        (
            "tagging",
            '{"words": ["the", "cat"], "tags": ["O", "B-X"]}',
            ContinualOptions(lwf=1.0),
            "lwf shows an earlier head the texts of the next task, and that of first reads only",
        ),
        (
            "sentence-embedding",
            '{"text": "the cat", "pair": "a dog"}',
            ContinualOptions(ewc=1.0),
            "ewc takes the loss of one example at a time, and that of first compares",
        ),
    ],
)
def test_a_task_that_a_method_cannot_use_is_refused(
    models, tasks, tmp_path, task, line, options, message
):
    lines = [line.replace("the", f"the {number}") for number in range(30)]
    write_text(tmp_path / "first.jsonl", "\n".join(lines))
    first = SENTENCES.format(name="first", task=task, file=tmp_path / "first.jsonl")
    write_text(tmp_path / "tasks.toml", first + tasks.read_text())
    out = tmp_path / "out"
    config = settings(models, tmp_path / "tasks.toml", out, continual=options)
    with pytest.raises(UserError, match=message):
        continual(config, quiet=True)
    assert not out.exists()


def test_the_command_prints_the_table_and_combines_with_other_methods(
    models, tasks, tmp_path, capsys
):
    """LoRA on a frozen encoder of the other architecture, whose added parameters EWC holds."""
    out = tmp_path / "run"
    words = ["--model", str(models["modern"]), "--tasks", str(tasks), "--out", str(out)]
    kept = ["--ewc", "10", "--replay", "0.5", "--lwf", "1"]
    others = ["--epochs", "1", "--lora", "4", "--fgm", "1", "--ema", "0.9"]
    assert main(["continual", *words, *kept, *others]) == 0
    printed = capsys.readouterr().out
    assert "forgetting" in printed and "colours: accuracy" in printed
    pull = load_file(out / "checkpoints/1-animals/ewc.safetensors")
    assert pull and all(".a." in name or ".b." in name for name in pull)
    assert Predictor.load(out / "animals")(["the red hen"])


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(models, tasks, run, tmp_path):
    config = settings(models, tasks, tmp_path / "two")
    write_json(tmp_path / "options.json", asdict(config))
    arguments = [str(tmp_path / "options.json")]
    run_on_processes(2, "tests.finetune.test_continual", arguments, timeout=300)
    ours, theirs = weights(run), weights(tmp_path / "two")
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    pull, other = (
        load_file(path / "checkpoints/1-animals/ewc.safetensors")
        for path in (run, tmp_path / "two")
    )
    for name, tensor in pull.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-2, atol=1e-5, msg=name)


if __name__ == "__main__":
    import sys

    continual(load(ContinualConfig, Path(sys.argv[1])), quiet=True)
