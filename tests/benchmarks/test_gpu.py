"""The table of a GPU, tried on a CPU: its checks see a fault, its rows are measured once."""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def gpu_run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_run

    return gpu_run


def options(out: Path, **changes: Any) -> argparse.Namespace:
    given = {"out": out, "device": "cpu", "size": "tiny", "text": [], "until": 0.0}
    out.mkdir(exist_ok=True)
    return argparse.Namespace(
        **given | {"sections": ["card", "checks", "speed", "pretraining"]} | changes
    )


def test_a_wrong_number_is_seen(gpu_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_attention_checks as checks

    kind = checks.KINDS["bias, window"]
    assert checks.attention(CPU, kind, [(2, 9)])["right"]
    right = checks.ops.attention
    monkeypatch.setattr(checks.ops, "attention", lambda *x, **y: 1.1 * right(*x, **y))
    wrong = checks.attention(CPU, kind, [(2, 9)])
    assert not wrong["right"] and wrong["line"].startswith("differs by 1.0e-01")
    assert not checks.dropout(CPU, checks.KINDS["prefix"], draws=4)["right"]


def test_dropout_that_drops_too_much_is_seen(gpu_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_attention_checks as checks

    assert checks.dropout(CPU, checks.KINDS["prefix"], draws=50)["right"]
    form = checks.ops.attention
    p = checks.P

    def twice(*inputs: Any) -> torch.Tensor:  # in place of p, 0.7, with the same scale
        return form(*inputs[:-1], 0.7) * (0.3 / (1 - p))

    monkeypatch.setattr(checks.ops, "attention", twice)
    assert not checks.dropout(CPU, checks.KINDS["prefix"], draws=50)["right"]


def test_nan_is_wrong(gpu_run: Any) -> None:
    import gpu_checks

    assert not gpu_checks.verdict({"a": (0.0, 1.0), "b": (math.nan, 1.0)})["right"]


def rows(seen: list[str]) -> Iterator[tuple[tuple[str, ...], float, Any]]:
    def measured(name: str, note: Any) -> Any:
        def measure(left: float) -> Any:
            seen.append(name)
            return note() if callable(note) else note

        return measure

    def fails() -> None:
        raise RuntimeError("no kernel\nfor it")

    yield ("checks", "good"), 1.0, measured("good", {"right": True, "line": "ok"})
    yield ("checks", "bad"), 1.0, measured("bad", {"right": False, "line": "differs by 1"})
    yield ("checks", "raises"), 1.0, measured("raises", fails)
    yield ("speed", "embed-base", "long"), 1e6, measured("long", {"seconds": [1.0]})
    yield ("speed", "embed-base", "plainformer"), 1.0, measured("ours", {"seconds": [1.0, 2.0]})


def test_rows_are_measured_once_and_in_time(
    gpu_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []
    made = lambda _: (gpu_run.Row(*row) for row in rows(seen))  # noqa: E731
    monkeypatch.setattr(gpu_run, "rows", made)
    soon = time.monotonic() + 60
    assert gpu_run.run(options(tmp_path), soon) == 1
    assert seen == ["good", "bad", "raises", "ours"]  # `long` does not fit
    checks = json.loads((tmp_path / "gpu.json").read_text())["checks"]
    assert checks["raises"]["line"] == "failed: RuntimeError: no kernel"
    page = (tmp_path / "gpu.md").read_text()
    assert "- good: ok" in page and "- bad: differs by 1" in page and "| plainformer" in page
    assert (tmp_path / "gpu.png").stat().st_size > 1000
    (tmp_path / "running").write_text("speed\tembed-base\tdead")  # it killed its process
    assert gpu_run.run(options(tmp_path), soon) == 1
    assert seen == ["good", "bad", "raises", "ours"]
    speed = json.loads((tmp_path / "gpu.json").read_text())["speed"]["embed-base"]
    assert "died" in speed["dead"]["left_out"] and "long" not in speed
    other = gpu_run.surroundings(CPU) | {"device": "another"}
    with pytest.raises(ValueError, match="choose another folder"):
        gpu_run.Report(tmp_path, other)


def test_every_contender_does_the_same_work(gpu_run: Any, tmp_path: Path) -> None:
    from gpu_contenders import OURS, contenders
    from gpu_speed import measure
    from gpu_works import Bench, LeftOut, works

    works = works(is_tiny=True)
    for name in ("mlm-base", "single-base"):
        for contender in contenders(works[name]):
            if contender.endswith("compiled"):
                continue
            try:
                note = measure(Bench(CPU), works[name], contender, tmp_path / f"{name}.npy", 0.0)
            except LeftOut as error:
                assert "is not installed" in str(error) and contender != OURS
                continue
            assert note["difference"] < 1e-5 and len(note["seconds"]) == 3


def test_parts_of_a_batch_make_the_same_step(gpu_run: Any) -> None:
    from gpu_contenders import OURS, make
    from gpu_works import Bench, works

    works = works(is_tiny=True)
    with ExitStack() as held:
        for contender in (OURS, "transformers sdpa"):
            calls = [make(Bench(CPU), works["mlm-base"], contender, n, held) for n in (1, 3)]
            for _ in range(2):
                whole, parted = (call() for call in calls)
                torch.testing.assert_close(whole, parted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_whole_table_on_a_cpu(tmp_path: Path) -> None:
    script = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--size", "tiny"]
    limits = ["--minutes", "20", "--out", str(tmp_path)]
    done = subprocess.run([*script, *limits], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert len(report["checks"]) >= 35
    for name, note in report["checks"].items():
        assert note.get("right", True) and not note.get("failed"), f"{name}: {note}"
    assert len(report["speed"]) >= 12
    for name, notes in report["speed"].items():
        assert "seconds" in notes["plainformer"], f"{name}: {notes}"
    assert report["pretraining"]["pretraining"]["losses"]
    for name in ("gpu.md", "gpu.png", "pretraining.png"):
        assert (tmp_path / name).stat().st_size > 1000
