"""Time the contenders of `speed.py` in turns, and summarise the times."""

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import Case

from plainformer.training.peak import synchronize


def seconds_of_calls(call: Callable[[Any], Any], case: Case) -> list[float]:
    """Run the whole workload; return the seconds of each call."""
    bounds = [time.perf_counter()]
    for some in case.inputs:
        call(some)
        bounds.append(time.perf_counter())
    return np.diff(bounds).tolist()


def take_turns(
    ready: dict[str, Callable[[Any], Any]], case: Case, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """Time each contender in each round, in seconds: the whole workload, and each of its calls."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    calls: dict[str, list[list[float]]] = {name: [] for name in ready}
    names = list(ready)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            synchronize(case.device)
            begin = time.perf_counter()
            calls[name].append(seconds_of_calls(ready[name], case))
            synchronize(case.device)
            seconds[name].append(time.perf_counter() - begin)
    return seconds, calls


def spread(values: Any) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": middle, "q1": low, "q3": high}


def by_length(
    times: list[list[float]], ours: list[list[float]], case: Case
) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of the calls of each length, theirs and ours."""
    found: dict[str, dict[str, float]] = {}
    for number, length in enumerate(case.workload.lengths):
        step = slice(number, None, len(case.workload.lengths))
        found[str(length)] = row = {}
        for name, percent in (("p50", 50), ("p95", 95)):
            their, our = (np.percentile(np.array(x)[:, step], percent) for x in (times, ours))
            row |= {name: 1e3 * float(their), f"{name}_ours_is_faster": float(their / our)}
    return found
