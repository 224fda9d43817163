"""The source distribution holds what the repository holds, and its tests pass there."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import plainformer

ROOT = Path(__file__).parent.parent
NOT_SHIPPED = {".gitignore", ".ci/run"}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built of a copy and unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout")
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, folder / "tree" / name)
    (folder / "dist").mkdir()
    program = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", program, str(folder / "dist")],
        cwd=folder / "tree",
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (archive,) = (folder / "dist").iterdir()
    assert plainformer.__version__ in archive.name
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (folder / "tracked").write_text(tracked.stdout)
    return folder / archive.name.removesuffix(".tar.gz")


def test_it_holds_every_file_of_the_repository(unpacked: Path) -> None:
    names = (unpacked.parent / "tracked").read_text().splitlines()
    there = {name for name in names if (ROOT / name).exists()} - NOT_SHIPPED
    assert {name for name in there if not (unpacked / name).is_file()} == set()


@pytest.mark.slow
def test_its_tests_pass(unpacked: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "auto",
            "--deselect",
            "tests/test_distribution.py",
        ],
        cwd=unpacked,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
