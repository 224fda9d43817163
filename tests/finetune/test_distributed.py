"""Fine-tune on one process, two or four: the same losses, scores and models.

    python -m torch.distributed.run … -m tests.finetune.test_distributed OPTIONS …

makes the runs of these files of options on several processes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import plainformer.training.run_log
from plainformer.base import UserError, read_json, write_json
from plainformer.finetune import FinetuneConfig, finetune
from plainformer.options import load
from plainformer.training import LoopConfig

ROOT = Path(__file__).parents[2]
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
    return settings(models, files, out, folds=2, valid=None, per_label=10, batch_size=8)


def run_on(count: int, runs: Iterable[FinetuneConfig], scratch: Path) -> None:
    """Make the runs on `count` processes."""
    paths = []
    for number, run in enumerate(runs):
        paths.append(str(scratch / f"options-{count}-{number}.json"))
        write_json(Path(paths[-1]), asdict(run))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), "-m", "tests.finetune.test_distributed", *paths]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        pytest.fail(f"the processes wait for each other:\n{said}")
    assert process.returncode == 0, said


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
    """A run on one process, on two and on four; begun on two and ended on one; and one in folds."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plainformer.training.run_log.draw_curve", lambda *_: None)
        finetune(settings(models, files, folder / "one"), quiet=True)
        finetune(in_folds(models, files, folder / "folds-one"), quiet=True)
        two = [
            settings(models, files, folder / "two"),
            in_folds(models, files, folder / "folds-two"),
        ]
        run_on(2, two, folder)
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
        assert its.get("evaluation", {}) == pytest.approx(row.get("evaluation", {}), rel=1e-4)
    trained, its = (load_file(run / "model.safetensors") for run in (one, other))
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
    for options in sys.argv[1:]:
        finetune(load(FinetuneConfig, Path(options)), quiet=True)
