"""The demo, shortened; it downloads the dictionary where the cache does not have it."""

import json
from pathlib import Path

import pytest

from plainformer.__main__ import main
from plainformer.demo import DemoLog
from plainformer.finetune import Predictor
from tests.pictures import pictures


@pytest.mark.slow
def test_the_demo_runs_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    with pictures():
        assert main(["demo", "--out", str(out), "--minutes", "0.3", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "held-out loss" in printed
    assert "points of accuracy" in printed
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert {name: len(scores) for name, scores in summary["accuracy"].items()} == {
        "pretrained": 2,
        "random": 2,
    }
    assert min(summary["accuracy"]["random"]) > 0.4  # four labels: chance is a quarter
    assert set(summary["seconds"]) == {"data", "tokenizer", "pretrain", "fine-tune"}
    for picture in ("accuracy.png", "pretrained/curve.png", "classifier/confusion.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert len(Predictor.load(out / "classifier")(["To run quickly."])) == 1


def test_a_line_with_brackets_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DemoLog(tmp_path).say("A large [MASK] of [/x].", "species 6%")
    assert capsys.readouterr().out == "  A large [MASK] of [/x].  species 6%\n"


def test_a_comparison_needs_a_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path), "--seeds", "1"]) == 2
    assert "seeds must be from 2 to 1,000" in capsys.readouterr().err
