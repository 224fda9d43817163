"""Build and install the distributions: they hold every file, and their tests pass."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
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
            os.link(ROOT / name, folder / "tree" / name, follow_symlinks=False)
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
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
        tar.extractall(folder, **safely)
    (folder / "tracked").write_text(tracked.stdout)
    return folder / archive.name.removesuffix(".tar.gz")


def test_it_holds_every_file_of_the_repository(unpacked: Path) -> None:
    names = (unpacked.parent / "tracked").read_text().splitlines()
    there = {name for name in names if (ROOT / name).is_file()} - NOT_SHIPPED
    linked = {name for name in names if (ROOT / name).is_symlink()}  # large folders of the package
    shipped = {name: f"plainformer/{name}" for name in there}
    shipped = {
        k: v if k.split("/")[0] in {Path(n).name for n in linked} else k for k, v in shipped.items()
    }
    assert {name for name, to in shipped.items() if not (unpacked / to).is_file()} == set()


@pytest.fixture(scope="module")
def installed(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages into which the wheel, built of the source distribution, is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    program = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=unpacked, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:  # a wheel of pure Python is installed by unpacking it
        archive.extractall(folder / "site")
    return folder / "site"


NAMES = ("encoder", "tokenizer", "corpora", "training", "pretrain", "finetune", "explain")
NAMES += ("deploy", "base")


def test_the_wheel_holds_one_package(installed: Path) -> None:
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"plainformer"}
    assert (installed / "plainformer" / "py.typed").is_file()
    page = Path("deploy", "server", "page")
    shipped = {file.name for file in (installed / "plainformer" / page).iterdir()}
    assert shipped == {file.name for file in (ROOT / page).iterdir()} and "index.html" in shipped
    assert (installed / "plainformer" / "explain" / "fairness" / "words" / "names.txt").is_file()
    assert all((installed / "plainformer" / name / "__init__.py").is_file() for name in NAMES)


def test_it_runs_beside_packages_and_scripts_of_the_same_names(
    installed: Path, tmp_path: Path
) -> None:
    for name in NAMES:  # a package that someone installed, and a script in the working folder
        for place in (tmp_path / "site" / name / "__init__.py", tmp_path / "work" / f"{name}.py"):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("raise SystemExit('somebody else was imported')")
    (tmp_path / "work" / "a.txt").write_text("a text of a few words\n" * 20)
    train = ["tokenizer", "train", "--files", "a.txt", "--vocab-size", "30", "--out", "tok"]
    for command in (["-m", "plainformer", *train], ["-c", "import plainformer.finetune"]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path / "work",
            env={"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{installed}", "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_its_tests_pass_where_it_is_installed(installed: Path, unpacked: Path) -> None:
    """The source tree is not on the path; what checks that tree is left out."""
    tree = unpacked.parent / "without_source"
    shutil.copytree(unpacked, tree, ignore=shutil.ignore_patterns("plainformer"))
    of_the_tree = [f"--ignore=tests/test_{name}.py" for name in ("distribution", "house")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "auto", *of_the_tree],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
