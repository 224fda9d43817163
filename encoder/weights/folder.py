"""A folder of Hugging Face on disk: where it is, its JSON, and its tensors, mapped."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cellar import UserError, find_folder
from encoder.weights.family import Tensors, listed


def find(name: str | Path) -> Path:
    """The model folder of that name, here or on the hub."""
    folder = find_folder(name)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is no model folder: it has no config.json")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a `UserError` that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of `model.safetensors`, or of the parts that its index names, still on disk."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return mapped(whole)
    if not index.is_file():
        raise UserError("it has no model.safetensors, and no other format is read")
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise UserError(f"{index.name} has no weight_map from tensors to files")
    tensors: Tensors = {}
    for part in sorted(set(files.values())):
        # A name is a file beside the index, never a way out of the folder.
        path = folder / Path(part).name
        if not path.is_file():
            raise UserError(f"{part} is missing: {index.name} names it")
        tensors.update(mapped(path))
    lost = sorted(files.keys() - tensors.keys())
    if lost:
        raise UserError(f"tensors that {index.name} names and no file has: {listed(lost)}")
    return tensors


def mapped(path: Path) -> Tensors:
    """The tensors of one file: pages of it, read when they are looked at."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path.name} is damaged or cut short: {error}") from None
