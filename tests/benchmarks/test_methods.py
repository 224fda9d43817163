"""The comparison of methods: the search for rates, and which scores the table reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield


@given(peak=st.integers(0, 13), start=st.integers(0, 11))
def test_the_search_ends_at_the_peak(peak: int, start: int) -> None:
    from methods import GRID, next_rate

    tried: dict[float, float] = {}
    while (rate := next_rate(GRID[start : start + 3], tried)) is not None:
        assert rate not in tried
        tried[rate] = -abs(GRID.index(rate) - peak)
    assert max(tried, key=lambda rate: tried[rate]) == GRID[peak]
    assert set(GRID[max(peak - 1, 0) : peak + 2]) <= set(tried)


def test_a_rate_is_that_of_its_data_set(tmp_path: Path) -> None:
    from methods import RatesAndScores
    from methods_compared import SETS

    results = RatesAndScores(tmp_path / "methods.jsonl")
    results.add("rate", "trec", "plain", 1e-4, score=0.7)
    results.add("rate", "trec", "plain", 3e-4, score=0.8)
    results.add("rate", "stsb", "plain", 1e-4, score=0.9)
    results.add("rate", "stsb", "LoRA", 1e-3, score=0.6)
    results.add("score", "STS-B", "FGM", 0, score=0.5, monitor="r", rate=3e-4)
    results = RatesAndScores(results.path)  # as a process that goes on reads them
    trec, stsb = SETS["TREC, 100"], SETS["STS-B"]
    assert results.rate(trec, "plain") == results.rate(trec, "FGM") == 3e-4
    assert results.rate(stsb, "plain") == results.rate(stsb, "FGM") == 1e-4
    assert results.rate(stsb, "LoRA") == 1e-3 and results.rate(trec, "LoRA") is None
    assert results.has_score("STS-B", "FGM", 0, 3e-4)
    assert not results.has_score("STS-B", "FGM", 0, 1e-4)  # at another rate: run again
    assert not results.has_score("STS-B", "FGM", 1, 3e-4)


def line(title: str, method: str, seed: int, score: float, rate: float) -> dict[str, Any]:
    return {"key": ["score", title, method, seed], "score": score, "rate": rate}


def test_the_table_leaves_out_scores_at_a_rate_given_up(tmp_path: Path) -> None:
    from methods_table import cell, paired, read

    lines = [
        *(line("films", "plain", seed, 0.7 + seed / 100, 3e-4) for seed in range(5)),
        *(line("names", "plain", seed, 0.7, 3e-4) for seed in range(4)),  # too few seeds
        *(line("films", "LoRA", seed, 0.1, 3e-3) for seed in range(5)),
        *(line("films", "LoRA", seed, 0.71 + seed / 50, 1e-3) for seed in range(2)),
    ]
    path = tmp_path / "methods.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    scores, _ = read(path)
    assert list(scores) == ["films"] and scores["films"]["LoRA"] == {0: 0.71, 1: 0.73}
    found = paired(scores, "films", "LoRA")
    assert found is not None
    assert found[0] == pytest.approx(1.5) and found[2] == pytest.approx([1, 2])
    assert found[1] == pytest.approx(0.2048, abs=1e-4)  # of Student's t = 3 with 1 degree
    assert cell(scores, "films", "LoRA") == "72.0 ± 1.4 (+1.5)"
