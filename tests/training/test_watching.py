"""What a person sees of a run, and the share of the device's peak that it reaches."""

import io
import json
import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from plainformer.training import peak
from plainformer.training.device import number_format
from plainformer.training.peak import peak_flops
from plainformer.training.progress import TrainingProgress
from tests.training import toy

CPU = torch.device("cpu")


def test_the_peak_is_that_of_a_large_product(monkeypatch):
    monkeypatch.setattr(peak, "SECONDS", 0.2)
    peak_flops.cache_clear()
    state = torch.random.get_rng_state()
    found = peak_flops(CPU, torch.float32)
    assert 1e9 < found < 1e14
    assert peak_flops(CPU, torch.float32) == found
    assert torch.equal(torch.random.get_rng_state(), state)


def test_formats():
    assert number_format(CPU, "auto") == number_format(CPU, "fp32") == torch.float32
    assert number_format(CPU, "bf16") == torch.bfloat16


def test_utilisation_is_recorded(tmp_path, monkeypatch):
    """Of what a batch is said to cost, and of a peak of a million a second."""
    monkeypatch.setattr("plainformer.training.loop.peak_flops", lambda device, number_format: 1e6)
    config = replace(toy.CONFIG, steps=6, eval_every=3)
    toy.run(tmp_path, config, flops=lambda batch: 1000 * batch.num_tokens)
    rows = [json.loads(line) for line in (tmp_path / "speed.jsonl").open()]
    assert rows[-1]["step"] == 6
    for row in rows:
        assert row["flops_per_second"] == pytest.approx(1000 * row["tokens_per_second"], rel=1e-3)
        assert row["utilisation"] == pytest.approx(row["flops_per_second"] / 1e6, abs=1e-4)


def test_nothing_is_measured_that_nobody_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("plainformer.training.loop.peak_flops", pytest.fail)
    toy.run(tmp_path, replace(toy.CONFIG, steps=2))
    assert "utilisation" not in json.loads((tmp_path / "speed.jsonl").open().readline())


def view(monkeypatch, width: int, step: int, steps: int, **changes) -> str:
    """The last picture of the bar in a terminal of this width."""
    shown = io.StringIO()
    monkeypatch.setattr(
        "plainformer.base.progress.Console",
        lambda **_: Console(file=shown, width=width, force_terminal=True, color_system=None),
    )
    values = {
        "means": {"loss": 3.87123, "accuracy": 0.3412},
        "tokens_per_second": 12_345.6,
        "utilisation": 0.62,
        "seconds_per_step": 0.21,
        "learning_rate": 3e-3,
    }
    with TrainingProgress("pretraining", steps) as display:
        display.update(step, **{**values, **changes})
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    return plain.replace("\r", "\n").strip().splitlines()[-1]


@pytest.mark.parametrize("width", [100, 160])
def test_the_view_fits_the_terminal(monkeypatch, width):
    line = view(monkeypatch, width, 800, 2000)
    for part in ["pretraining", "800/2000", "loss 3.871", "acc 34%", "12.3k tok/s", "62% of peak"]:
        assert part in line, line
    assert line.rstrip().endswith("lr 3.0e-3  4:12 left") and len(line.rstrip()) <= width


def test_what_is_not_known_is_not_shown(monkeypatch):
    line = view(monkeypatch, 100, 1, 5, means={"loss": 0.5}, utilisation=None)
    assert "acc" not in line and "peak" not in line and "loss 0.500" in line


def test_long_runs_fit_too(monkeypatch):
    line = view(
        monkeypatch,
        100,
        123_456,
        500_000,
        means={"loss": 11.5, "mlm_accuracy": 1.0},
        tokens_per_second=9_876_543.0,
        utilisation=1.0,
    )
    for part in [
        "123456/500000",
        "loss 11.500",
        "acc 100%",
        "9.88M tok/s",
        "100% of peak",
        "21h57 left",
    ]:
        assert part in line, line
