"""The front door in a strange house: closed streams, other encodings, an environment of rubbish."""

import json
import os
import subprocess
import sys

import pytest

from plainformer.__main__ import main
from tests.plainformer.conftest import ROOT, start


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which PF is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("PF", f"{sys.executable} -m plainformer")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("PF --version >&-", 0, b""),
        ("PF --version 2>&-", 0, b""),
        ("PF --version <&- >&- 2>&-", 0, b""),
        ("PF nonsense 2>&-", 2, b""),
        ("PF --version >/dev/full", 2, b"No space left"),
        ("PF --help | true; exit ${PIPESTATUS[0]}", 0, b""),
        ("PF data list | true; exit ${PIPESTATUS[0]}", 0, b""),
        ("PF data lits 2>&1 | true; exit ${PIPESTATUS[0]}", 2, b""),
    ],
)
def test_streams_may_be_closed(line: str, code: int, says: bytes) -> None:
    done = shell(line)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr and len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    ("environment", "code", "says"),
    [
        ({"COLUMNS": "0"}, 0, ""),
        ({"COLUMNS": "9" * 30, "LINES": "x"}, 0, ""),
        ({"COLUMNS": "-5"}, 0, ""),
        ({"HOME": "/nowhere", "TMPDIR": "/nowhere"}, 0, ""),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, 0, ""),
        ({"WORLD_SIZE": "x"}, 2, "WORLD_SIZE must be a whole number, not 'x'"),
        ({"WORLD_SIZE": "-1"}, 2, "WORLD_SIZE must be a whole number"),
        ({"WORLD_SIZE": "9" * 30}, 2, "WORLD_SIZE must be a whole number"),
        ({"WORLD_SIZE": "0"}, 2, "contradict each other"),
        ({"RANK": "x"}, 2, "RANK must be a whole number"),
        ({"RANK": "3"}, 2, "RANK=3 and WORLD_SIZE=1 contradict each other"),
        ({"WORLD_SIZE": "2"}, 2, "it runs on one process"),
        ({"WORLD_SIZE": "", "RANK": " "}, 0, ""),
    ],
)
def test_the_environment_may_say_anything(call, monkeypatch, environment, code, says) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = call("data", "list")
    assert found.code == code and says in found.err
    assert len(found.err.splitlines()) == (code != 0)


def test_no_master_is_said(pretraining, refused, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert "WORLD_SIZE is 2: start with torchrun" in refused(*pretraining)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_answer_is_json_in_any_encoding(classifier, tmp_path, encoding) -> None:
    texts = ["naïve 猫 😀", "[/x] [bold]"]
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    done = shell(f"PF predict {classifier} --file {tmp_path / 'a.txt'}", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding).splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


def test_names_are_no_markup(classifier, held_out, tmp_path, call) -> None:
    strange = tmp_path / "[/x] [red]"
    strange.mkdir(parents=True)
    data = strange / "[bold] a.tsv"
    data.write_text(held_out.read_text())
    found = call("evaluate", classifier, "--data", data, "--out", strange / "out")
    assert found.code == 0 and "[/x] [red]" in found.out
    found = call("evaluate", strange / "[/nothing]", "--data", data)
    assert found.code == 2 and "[/nothing]" in found.err


def test_who_leaves_early_still_gets_the_report(classifier, held_out, tmp_path) -> None:
    line = f"PF evaluate {classifier} --data {held_out} --out {tmp_path / 'r'} | true"
    done = shell(f"{line}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "r" / "report.html").exists()
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())


def test_no_work_ends_for_want_of_a_listener(finetuning, tmp_path) -> None:
    process = start(*finetuning, stdout=subprocess.DEVNULL)
    process.stderr.close()
    assert process.wait(timeout=300) == 0
    assert (tmp_path / "run" / "metrics.json").exists()


class Panic(BaseException):
    """As pyo3_runtime.PanicException is."""


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (RuntimeError("a\nb\n" + "c" * 5000), "RuntimeError: a b ccc"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum"),
        (MemoryError(), "there is not enough memory: MemoryError"),
        (Panic("index out of bounds"), "Panic: index out of bounds"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_whatever_is_left_is_one_line(monkeypatch, capfd, fault, says) -> None:
    def run(*_: object) -> int:
        raise fault

    monkeypatch.setattr("plainformer.__main__.run", run)
    assert main(["data", "list"]) == 70
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("plainformer data: ") and says in line
    assert "--debug shows the traceback" in line and len(line) < 500
    for words in (["--debug", "data", "list"], ["data", "list", "--debug"]):
        assert main(words) == 70
        err = capfd.readouterr().err
        assert "Traceback" in err and "in run" in err and says[:12] in err


def test_a_near_miss_of_a_command(call) -> None:
    assert call("pretrian").err == (
        "plainformer: there is no command 'pretrian'; did you mean pretrain?\n"
    )
    assert "plainformer --help lists them" in call("zzz").err


def test_a_zero_byte_is_refused(call) -> None:
    found = call("evaluate", "a\0b", "--data", "x")
    assert found.code == 2 and "zero byte" in found.err
