"""Damaged files and lines are read or refused; and the fuzzer sees what is neither."""

import os
import sys
from pathlib import Path

import pytest

from plainformer.base import UserError
from tests.processes import ROOT, run_in_process


def test_what_is_damaged_is_read_or_refused() -> None:
    options = ["--cases", "120", "--seed", "13", "--processes", "1"]
    code, output = run_in_process(str(ROOT / "benchmarks" / "fuzz.py"), options)
    assert code == 0, output
    assert "120 cases, 0 faults" in output


def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An exception, a way out, a crash, a hang, a burst of memory: each with its number."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import fuzz
    from fuzz_targets import Target

    def hang(folder: Path) -> None:
        while True:
            pass

    def refuse(folder: Path) -> None:
        raise UserError("no")

    reads = {
        "read": lambda folder: None,
        "refused": refuse,
        "KeyError": lambda folder: {}["a"],
        "leaves": lambda folder: sys.exit(3),
        "crash": lambda folder: os._exit(3),
        "hang": hang,
        "MemoryError": lambda folder: bytearray(2**36),
        "RecursionError": lambda folder: reads["RecursionError"](folder),
    }
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "a.json").write_text('{"a": 1}')
    targets = {name: Target(folder, ["*"], read) for name, read in reads.items()}
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    results = fuzz.run_all(list(enumerate(reads)), targets, 0, tmp_path, 2)
    assert {r.target: r.outcome for r in results} == {name: name for name in reads}
    assert {r.number for r in results} == set(range(len(reads)))
    assert fuzz.report(results, 1.0) == 1
    good = [r for r in results if r.outcome in ("read", "refused")]
    assert fuzz.report(good, 1.0) == 0


def test_a_case_is_the_same_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from random import Random

    from fuzz_lines import damaged_line
    from fuzz_mutations import mutate

    found = []
    for _ in range(2):
        rng = Random("1-2")
        (tmp_path / "a.json").write_text('{"a": [1, {"b": "c"}], "d": null}')
        made = []
        for _ in range(20):
            mutate(tmp_path / "a.json", rng)
            made.append((tmp_path / "a.json").read_bytes())
            (tmp_path / "a.json").write_text('{"a": [1, {"b": "c"}], "d": null}')
        found.append([*made, damaged_line(rng)])
    assert found[0] == found[1]
    assert len({bytes(b) for b in found[0][:-1]}) > 10
