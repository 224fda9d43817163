"""The time of a step: of few batches for many, and without that of compiling."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from plainformer.training import seconds_per_step, step_time
from tests.training import toy


def test_a_step_of_many_batches_is_timed_in_the_time_of_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def step(whole: Any, objective: Any, batches: Any, *rest: Any, **options: Any) -> None:
        taken.append(len(batches(0)))
        now[0] += 0.5 + 2.0 * len(batches(0))

    now = [0.0]
    monkeypatch.setattr(step_time, "SECONDS", 3.0)
    monkeypatch.setattr(step_time, "take_step", step)
    monkeypatch.setattr(step_time.time, "perf_counter", lambda: now[0])
    seconds = seconds_per_step(
        toy.Model(), toy.objective, lambda step: [toy.batches(0)[0]] * 16, toy.CONFIG
    )
    assert seconds == pytest.approx(0.5 + 16 * 2.0)
    assert max(taken) == 2
    taken.clear()
    assert seconds_per_step(
        toy.Model(), toy.objective, lambda step: [toy.batches(0)[0]] * 16, toy.CONFIG, limit=1.0
    ) == pytest.approx(16 * 2.5)
    assert taken == [1], "it is slow enough to be known"


def test_compiling_is_not_the_time_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def step(*rest: Any, **options: Any) -> None:
        now[0] += times.pop(0)

    now = [0.0]
    config = replace(toy.CONFIG, compile=True)
    monkeypatch.setattr(step_time, "SECONDS", 3.0)
    monkeypatch.setattr(step_time, "take_step", step)
    monkeypatch.setattr(step_time.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(step_time, "layers_in_training", lambda *_, **options: nullcontext())
    batches = lambda step: toy.batches(step)[:1]  # noqa: E731
    for second in (2.0, 20.0):
        times[:] = [30.0, second, 2.0]
        assert seconds_per_step(toy.Model(), toy.objective, batches, config, limit=10) == second
    assert len(times) == 1, "it is slow enough to be known"
