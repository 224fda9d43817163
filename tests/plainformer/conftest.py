"""What the commands need: a text, a tokenizer, a model and a classifier, all tiny."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from plainformer.__main__ import main
from tests.pretrain import tiny

ROOT = Path(__file__).parents[2]


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd) -> Callable[..., Said]:
    """Run a command in this process."""

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # after --help
            code = leaving.code
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def refused(call) -> Callable[..., str]:
    """Run a command that must end with one short message; return the message."""

    def run(*arguments: object) -> str:
        code, out, err = call(*arguments)
        assert code == 2 and out == ""
        (line,) = err.splitlines()
        assert line.startswith(f"plainformer {arguments[0]}: ") and len(line) < 400
        return line

    return run


def start(*arguments: object, **settings) -> subprocess.Popen:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "plainformer", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""},
        text=True,
        stderr=subprocess.PIPE,
        **settings,
    )


@pytest.fixture(scope="package")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "toy.txt"
    path.write_text("\n".join(tiny.sentences(300)))
    return path


@pytest.fixture(scope="package")
def tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.make_tokenizer().save(folder)
    return folder


@pytest.fixture(scope="package")
def pretrained(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return tiny.save_untrained(tmp_path_factory.mktemp("model"), "bert", tiny.make_tokenizer())


def write_examples(path: Path, sentences: list[str]) -> Path:
    """Sentences with their labels, as TSV."""
    rows = [
        f"{t}\t{'bird' if t.split()[2] in ('hen', 'owl') else '[b]beast[/b]'}" for t in sentences
    ]
    path.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="package")
def examples(tmp_path_factory) -> Path:
    return write_examples(tmp_path_factory.mktemp("examples") / "examples.tsv", tiny.sentences(24))


@pytest.fixture(scope="package")
def held_out(tmp_path_factory) -> Path:
    """None of them is among the examples."""
    others = [t for t in tiny.sentences(100, seed=1) if t not in tiny.sentences(24)]
    return write_examples(tmp_path_factory.mktemp("examples") / "held_out.tsv", others[:24])


@pytest.fixture(scope="package")
def classifier(pretrained, examples, held_out, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classifier"
    options = ["--train", examples, "--valid", held_out, "--epochs", 1, "--max-length", 32]
    arguments = ["finetune", "--model", pretrained, "--out", out, *options]
    assert main([str(argument) for argument in arguments]) == 0
    return out


@pytest.fixture
def pretraining(corpus, tokenizer, tmp_path) -> list[object]:
    """The arguments of a pretraining of six steps into tmp_path/run."""
    return [
        "pretrain", "--corpus", corpus, "--tokenizer", tokenizer, "--out", tmp_path / "run",
        "--preset", tiny.PRESET, "--max-length", 32, "--batch-tokens", 256,
        "--valid-share", 0.1, "--steps", 6, "--eval-every", 0,
    ]  # fmt: skip


@pytest.fixture
def finetuning(pretrained, examples, held_out, tmp_path) -> list[object]:
    """The arguments of a fine-tuning of one epoch into tmp_path/run."""
    return [
        "finetune", "--model", pretrained, "--train", examples, "--valid", held_out,
        "--out", tmp_path / "run", "--epochs", 1, "--max-length", 32,
    ]  # fmt: skip
