"""Fine-tune on one process, two or four: the same losses, scores and models.

    python -m torch.distributed.run … -m tests.finetune.test_distributed FILE …

makes runs on several processes: a file holds the options of one, or a list of commands.
"""

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import plainformer.training.run_log
from plainformer.__main__ import main
from plainformer.base import UserError, read_json, write_json
from plainformer.finetune import ClassificationOptions, FinetuneConfig, finetune
from plainformer.options import load
from plainformer.training import LoopConfig
from tests.pretrain import tiny
from tests.processes import run_on_processes

ROOT = Path(__file__).parents[2]
WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
STEPS = 24  # of 13 examples; the last has one, so that three micro-batches of four are empty


def settings(models, files, out: Path, **changes: Any) -> FinetuneConfig:
    training = LoopConfig(
        learning_rate=1e-2, eval_every=8, checkpoint_every=8, keep=9, device="cpu"
    )
    return FinetuneConfig(
        **{
            "model": models["bert"],
            "train": files("train"),
            "valid": files("valid"),
            "out": out,
            "epochs": 1.0,
            "batch_size": 13,
            "accumulate": 4,
            "max_length": 32,
            "training": training,
            **changes,
        }
    )


def in_folds(models, files, out: Path) -> FinetuneConfig:
    task = ClassificationOptions(per_label=10)
    return settings(models, files, out, folds=2, valid=None, task=task, batch_size=8)


def seeded(models, files, out: Path) -> FinetuneConfig:
    task = ClassificationOptions(per_label=10)
    return settings(models, files, out, seeds=2, task=task, batch_size=8)


def run_on(count: int, runs: Iterable[FinetuneConfig], scratch: Path, commands: Any = None) -> None:
    """Make the runs, and then the commands, on `count` processes."""
    paths = []
    for number, run in enumerate(runs):
        paths.append(str(scratch / f"options-{count}-{number}.json"))
        write_json(Path(paths[-1]), asdict(run))
    if commands:
        paths.append(str(scratch / f"commands-{count}.json"))
        write_json(Path(paths[-1]), {"commands": commands})
    run_on_processes(count, "tests.finetune.test_distributed", paths, timeout=300)


def commands(run: Path, text: Path, labelled: str, out: Path) -> list[list[str]]:
    """Commands that read files and write to `out`."""
    return [
        ["predict", str(run), "--file", str(text), "--out", str(out / "predictions.jsonl")],
        ["predict", str(run), "--file", str(text), "--out", str(out / "predictions.csv")],
        ["evaluate", str(run), "--data", labelled, "--out", str(out / "report")],
        ["embed", str(run), "--file", str(text), "--out", str(out / "vectors.npy")],
    ]


def begun(run: Path, out: Path, steps: int) -> Path:
    """Copy a run as it was after so many steps."""
    shutil.copytree(run, out)
    (out / "metrics.json").unlink()
    for folder in (out / "checkpoints").glob("step-*"):
        if folder.name > f"step-{steps:08d}":
            shutil.rmtree(folder)
    return out


@pytest.fixture(scope="module")
def runs(models, files, one_thread, tmp_path_factory) -> Path:
    """A run on one process, on two and on four, and begun on two and ended on one; folds."""
    folder = tmp_path_factory.mktemp("runs")
    finetune(settings(models, files, folder / "one"), quiet=True)
    finetune(in_folds(models, files, folder / "folds-one"), quiet=True)
    two = [
        settings(models, files, folder / "two"),
        in_folds(models, files, folder / "folds-two"),
    ]
    text = folder / "texts.txt"
    text.write_text("".join(f"{line}\n" for line in tiny.sentences(1500, 5)))
    for name in ("one", "two"):
        (folder / f"out-{name}").mkdir()
    for command in commands(folder / "one", text, files("test"), folder / "out-one"):
        assert main(command) == 0
    on_two = commands(folder / "one", text, files("test"), folder / "out-two")
    run_on(2, two, folder, on_two)
    run_on(4, [settings(models, files, folder / "four")], folder)
    resumed = begun(folder / "two", folder / "two-one", 8)
    finetune(settings(models, files, resumed, resume=True), quiet=True)
    return folder


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_alike(one: Path, other: Path) -> None:
    """The same losses, scores and weights but for rounding."""
    rows, others = log(one), log(other)
    assert len(rows) == len(others)
    for row, its in zip(rows, others, strict=True):
        assert row.get("tokens") == its.get("tokens")
        assert its.get("loss", 0) == pytest.approx(row.get("loss", 0), rel=1e-5)
        scores, others_scores = (dict(r.get("evaluation", {})) for r in (row, its))
        # Rounding changes the order of examples that score alike.
        areas = [found.pop("macro_auc", 0) for found in (scores, others_scores)]
        assert areas[1] == pytest.approx(areas[0], abs=0.01)
        assert others_scores == pytest.approx(scores, rel=1e-4)
    (file,) = (one / name for name in WEIGHTS if (one / name).exists())
    trained, its = load_file(file), load_file(other / file.name)
    for key, tensor in trained.items():
        torch.testing.assert_close(its[key], tensor, rtol=1e-3, atol=1e-4, msg=key)
    scores, its = (read_json(run / "metrics.json")["valid"] for run in (one, other))
    assert its["accuracy"] == scores["accuracy"] and its["confusion"] == scores["confusion"]


@pytest.mark.parametrize("other", ["two", "four", "two-one"])
def test_any_number_of_processes_takes_the_same_steps(runs, other):
    assert len(log(runs / "one")) == STEPS + 3
    assert_alike(runs / "one", runs / other)


def test_folds_on_two_processes_are_those_on_one(runs):
    one, two = (read_json(runs / f"folds-{name}" / "summary.json") for name in ("one", "two"))
    assert one["runs"].keys() == two["runs"].keys() == {"fold-1", "fold-2", "all"}
    for name, scores in one["runs"].items():
        assert two["runs"][name] == pytest.approx(scores, rel=1e-4)


@pytest.mark.slow
def test_seeds_on_two_processes_are_those_on_one(models, files, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    finetune(seeded(models, files, one), quiet=True)
    run_on(2, [seeded(models, files, two)], tmp_path)
    summary, its = (read_json(folder / "summary.json") for folder in (one, two))
    assert len(summary["runs"]) == 2 and summary["runs"].keys() == its["runs"].keys()
    for name, scores in summary["runs"].items():
        assert its["runs"][name] == pytest.approx(scores, rel=1e-4)
    assert its["model"] == summary["model"]
    weights = [{p.relative_to(f) for p in f.rglob("model.safetensors")} for f in (one, two)]
    assert weights[0] == weights[1] and len(weights[0]) == 3  # two seeds, and the better one's copy
    assert_alike(one, two)


@pytest.mark.parametrize("name", ["predictions.jsonl", "predictions.csv", "vectors.npy"])
def test_two_processes_write_the_file_of_one_byte_for_byte(runs, name):
    one, two = ((runs / f"out-{count}" / name).read_bytes() for count in ("one", "two"))
    assert len(one) > 1500 and one == two


def test_an_evaluation_on_two_processes_is_that_on_one(runs):
    one, two = (read_json(runs / f"out-{n}" / "report" / "metrics.json") for n in ("one", "two"))
    assert one.pop("evaluated")["examples"] == two.pop("evaluated")["examples"] == 50
    assert one == two
    assert (runs / "out-two" / "report" / "report.html").exists()


def test_micro_batches_take_the_steps_of_a_whole_batch(models, files, tmp_path):
    config = settings(models, files, tmp_path / "parts", dropout=0.0)
    finetune(config, quiet=True)
    finetune(replace(config, accumulate=1, out=tmp_path / "whole"), quiet=True)
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def test_a_batch_cannot_be_split_into_more_parts_than_examples(models, files, tmp_path):
    with pytest.raises(UserError, match="accumulate"):
        settings(models, files, tmp_path, accumulate=14)


if __name__ == "__main__":
    torch.set_num_threads(1)
    plainformer.training.run_log.draw_curve = lambda *_: None
    for path in map(Path, sys.argv[1:]):
        if path.name.startswith("commands"):
            assert not any(map(main, read_json(path)["commands"]))
        else:
            finetune(load(FinetuneConfig, path), quiet=True)
