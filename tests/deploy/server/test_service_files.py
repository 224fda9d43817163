"""The container file and the systemd unit say what `plainformer serve` understands."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plainformer.commands.serve import TOKEN, ServeOptions
from plainformer.deploy.server import Limits, load_models
from plainformer.options import parse
from tests.deploy.server.conftest import served

ROOT = Path(__file__).parents[3]
FOLDERS = {path.name for path in (ROOT / "plainformer").iterdir() if path.is_symlink()}


def instructions() -> dict[str, list[str]]:
    """The instructions of the container file, with their arguments."""
    text = (ROOT / "deploy/Containerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: dict[str, list[str]] = {}
    for name, _, rest in (line.partition(" ") for line in lines if line):
        found.setdefault(name, []).append(rest)
    return found


@pytest.fixture(scope="module")
def unit() -> dict[str, str]:
    """The settings of the unit."""
    text = (ROOT / "deploy/plainformer.service").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def test_the_container_starts_the_server() -> None:
    found = instructions()
    program, command, *words = json.loads(found["ENTRYPOINT"][0])
    options = parse(ServeOptions, command, [*words, "/models/labels", "/models/names"])
    assert (Path(program).name, command, options.host) == ("plainformer", "serve", "0.0.0.0")
    assert found["EXPOSE"] == [str(options.port)]
    assert [user.split(":")[0] for user in found["USER"]] == ["10001"]
    with pytest.raises(SystemExit), contextlib.redirect_stdout(None):
        parse(ServeOptions, command, [*words, *json.loads(found["CMD"][0])])
    comment = (ROOT / "deploy/Containerfile").read_text().partition("FROM")[0]
    assert TOKEN in comment and f"--publish 8080:{options.port}" in comment
    (allowed,) = re.findall(r"--stop-timeout (\d+)", comment)
    assert int(allowed) > options.limits.timeout + 5


def test_the_image_is_built_of_all_it_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    needed = {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "plainformer"}
    assert lines[1] == "*" and kept == needed | FOLDERS
    assert all((ROOT / name).exists() for name in kept)


def test_the_health_check_sees_a_server_that_answers(runs) -> None:
    (check,) = instructions()["HEALTHCHECK"]
    _, option, code = json.loads(check[check.index("[") :])
    with served(load_models([runs["labels"]], Limits()), token="secret") as address:
        there = code.replace("http://127.0.0.1:8080", address)
        assert there != code
        assert subprocess.run([sys.executable, "-I", option, there]).returncode == 0
    gone = subprocess.run([sys.executable, "-I", option, there], capture_output=True)
    assert gone.returncode != 0


def test_the_unit_starts_the_server(unit: dict[str, str]) -> None:
    program, command, *words = shlex.split(unit["ExecStart"])
    assert words.pop() == "$MODELS" and "MODELS=/" in unit["Environment"]
    options = parse(ServeOptions, command, [*words, "/srv/plainformer/labels"])
    assert (Path(program).name, command, options.host) == ("plainformer", "serve", "127.0.0.1")
    assert int(unit["TimeoutStopSec"]) > options.limits.timeout + 5
    assert "-HUP" in unit["ExecReload"] and unit["KillSignal"] == "SIGTERM"
    assert TOKEN in (ROOT / "deploy/plainformer.service").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="without systemd")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    text = (ROOT / "deploy/plainformer.service").read_text()
    unit = tmp_path / "plainformer.service"
    unit.write_text(text.replace("/opt/plainformer/bin/plainformer", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
