"""The script for a GPU, tried on a CPU: every check passes, and a measurement has its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_check_is_right_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    script = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--minutes", "5"]
    done = subprocess.run(
        [*script, "--sections", "right", "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    report = json.loads(out.read_text())
    assert len(report["right"]) >= 13
    for name, result in report["right"].items():
        assert result["right"] is True, f"{name}: {result}"
    assert report["fast"] == {}


def test_a_wrong_number_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_checks

    assert gpu_checks.attention(torch.device("cpu"), longest=20)["right"]
    fused = gpu_checks.fused.attention
    monkeypatch.setattr(gpu_checks.fused, "attention", lambda *x, **y: 1.1 * fused(*x, **y))
    assert not gpu_checks.attention(torch.device("cpu"), longest=20)["right"]


def test_both_sides_are_timed_on_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_speed

    bench = gpu_speed.Bench(torch.device("cpu"), tiny=True, peak=1e12, deadline=0.0)
    result = gpu_speed.inference(bench, "bert-tiny", 2)
    assert set(result) == {"tokens a call", "plainformer", *gpu_speed.THEIRS}
    for name in ("plainformer", "transformers sdpa"):
        assert result[name]["tokens a second"] > 0, result
    assert "flash-attn" in result["transformers FlashAttention-2"]
