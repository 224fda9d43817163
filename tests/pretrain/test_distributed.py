"""One process, two or four: the same losses and weights, and a run that changes between them."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import write_json
from plainformer.pretrain import Corpus, PretrainConfig, prepare_corpus, pretrain
from plainformer.tokenizer import load_tokenizer
from plainformer.training import TrainingConfig
from tests.pretrain import tiny
from tests.processes import run_on_processes

ROOT = Path(__file__).parents[2]
STEPS = 4
MLM = {"preset": "bert-speck"}  # with dropout, and one matrix for tokens in and out
MUON = {**MLM, "optimizer": "muon"}
RUNS: dict[str, dict[str, Any]] = {
    "mlm-ddp": MLM,
    "mlm-fsdp": {**MLM, "parallel": "fsdp"},
    "muon-ddp": MUON,
    "muon-fsdp": {**MUON, "parallel": "fsdp"},
    "both-ddp": {**MLM, "objective": ("mlm", "sop")},
    "nsp-ddp": {**MLM, "objective": ("nsp",)},  # which leaves the head for tokens alone
    "sop-fsdp": {"preset": "albert-speck", "objective": ("sop",), "parallel": "fsdp"},
    "rtd-fsdp": {"preset": "electra-speck", "objective": ("rtd",), "parallel": "fsdp"},
}
OF_TRAINING = ("optimizer", "parallel")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PretrainConfig:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(200)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    corpus = Corpus.of((str(folder / "toy.txt"),), valid_share=0.1)
    tokenizer = load_tokenizer(folder / "tokenizer")
    prepare_corpus(corpus, tokenizer, folder / "corpus", workers=1, quiet=True)
    return PretrainConfig(
        corpus=(str(folder / "corpus"),),
        tokenizer=folder / "tokenizer",
        out=folder,
        max_length=32,
        batch_tokens=128,
        accumulate=4,
        training=TrainingConfig(
            steps=STEPS, learning_rate=1e-2, eval_every=2, checkpoint_every=2, keep=9, device="cpu"
        ),
    )


def settings(config: PretrainConfig, name: str, out: Path) -> PretrainConfig:
    changes = dict(RUNS[name])
    training = {key: changes.pop(key) for key in OF_TRAINING if key in changes}
    return replace(config, out=out, training=replace(config.training, **training), **changes)


def run_on(count: int, runs: Iterable[PretrainConfig], scratch: Path) -> None:
    """Go through `runs` on `count` processes."""
    files = []
    for number, run in enumerate(runs):
        files.append(str(scratch / f"options-{count}-{number}.json"))
        write_json(files[-1], asdict(run))
    run_on_processes(count, "tests.programs.pretrain_several", files, timeout=120)


def cut(run: Path, out: Path) -> Path:
    """A copy of `run` as it was after half of its steps."""
    shutil.copytree(run, out)
    shutil.rmtree(out / "checkpoints" / f"step-{STEPS:08d}")
    shutil.rmtree(out / "checkpoints" / "best", ignore_errors=True)
    shutil.copytree(out / "checkpoints" / "step-00000002", out / "checkpoints" / "best")
    return out


@pytest.fixture(scope="module")
def runs(config, one_thread, tmp_path_factory) -> Path:
    """Every run on one process and on two; and begun on one, gone on with on two or four."""
    folder = tmp_path_factory.mktemp("runs")
    for name in RUNS:
        pretrain(settings(config, name, folder / "one" / name), quiet=True)
    two = [settings(config, name, folder / "two" / name) for name in RUNS]
    for engine in ("ddp", "fsdp"):
        begun = cut(folder / "one" / f"muon-{engine}", folder / "one-two" / engine)
        two.append(replace(settings(config, f"muon-{engine}", begun), resume=True))
    run_on(2, two, folder)
    begun = cut(folder / "two" / "mlm-fsdp", folder / "two-four")
    run_on(4, [replace(settings(config, "mlm-fsdp", begun), resume=True)], folder)
    begun = cut(folder / "two" / "muon-fsdp", folder / "two-one")
    pretrain(replace(settings(config, "muon-ddp", begun), resume=True), quiet=True)
    return folder


def assert_alike(one: Path, other: Path) -> None:
    """The same batches, and but for rounding the same losses, weights and optimizer."""
    rows, others = (
        [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        for run in (one, other)
    )
    assert len(rows) == len(others)
    for row, its in zip(rows, others, strict=True):
        assert row.get("tokens") == its.get("tokens")
        for numbers, theirs in ((row, its), (row.get("evaluation", {}), its.get("evaluation", {}))):
            for name in numbers.keys() - {"evaluation"}:
                tolerance = 1e-5 if "loss" in name else 1e-3
                assert theirs[name] == pytest.approx(numbers[name], rel=tolerance), name
    for name in ("model.safetensors", "optimizer.safetensors"):
        last = f"checkpoints/step-{STEPS:08d}/{name}"
        tensors, theirs = load_file(one / last), load_file(other / last)
        assert tensors.keys() == theirs.keys()
        for key, tensor in tensors.items():
            torch.testing.assert_close(theirs[key], tensor, rtol=1e-3, atol=1e-4, msg=key)
    trained, its = (load_file(run / "model.safetensors") for run in (one, other))
    for key, tensor in trained.items():
        torch.testing.assert_close(its[key], tensor, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_as_one(runs, name):
    assert_alike(runs / "one" / name, runs / "two" / name)


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_begun_on_one_process_ended_on_two(runs, engine):
    assert_alike(runs / "one" / f"muon-{engine}", runs / "one-two" / engine)


def test_begun_on_two_processes_ended_on_four(runs):
    assert_alike(runs / "one" / "mlm-fsdp", runs / "two-four")


def test_begun_on_two_processes_ended_on_one(runs):
    assert_alike(runs / "one" / "muon-ddp", runs / "two-one")
