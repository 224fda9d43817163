"""Find a folder of Hugging Face, and map its tensors into memory."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from plainformer.base import Fields, UserError, find_folder, read_json
from plainformer.encoder.weights.family import Tensors, listed

LONGEST_NAME = 255
"""The longest file name, in bytes, of every common file system."""


def find(name: str | Path) -> Path:
    """Find the model folder of this name, on disk or on the hub."""
    folder = find_folder(name)
    if not (folder / "config.json").is_file():
        hint = ""
        if (folder / "adapter_config.json").is_file():
            hint = " (but an adapter; plainformer convert merges it into its model)"
        elif (folder / "modules.json").is_file():
            hint = " (but modules of sentence-transformers, for vectors of sentences alone)"
        raise UserError(f"{folder} is no model folder: it has no config.json{hint}")
    return folder


def read_tensors(folder: Path) -> Tensors:
    """Map every tensor of the file of weights, or of the shards in its index."""
    index = folder / "model.safetensors.index.json"
    for whole in (folder / "model.safetensors", folder / "model_int8.safetensors"):
        if whole.is_file():
            return mapped(whole)
    if not index.is_file():
        old = next(folder.glob("pytorch_model*.bin"), None)
        remedy = f"; `plainformer convert` makes one of its {old.name}" if old else ""
        raise UserError(f"it has no model.safetensors{remedy or ', and no other format is read'}")
    settings = Fields(read_json(index), index.name)
    if "weight_map" not in settings:
        raise settings.wrong("weight_map", "the file of each tensor")
    files = settings.fields("weight_map")
    parts = {name: files.text(name) for name in files.values}
    tensors: Tensors = {}
    for part in sorted(set(parts.values())):
        tensors.update(mapped(named_file(index, part)))
    lost = sorted(parts.keys() - tensors.keys())
    if lost:
        raise UserError(f"tensors that {index.name} names and no file has: {listed(lost)}")
    return tensors


def named_file(index: Path, name: str) -> Path:
    """Return the path of a file that an index names; refuse one outside its folder."""
    is_name = Path(name).name == name and "\0" not in name and len(name.encode()) <= LONGEST_NAME
    if not is_name:
        raise UserError(f"{index.name} names {name!r:.60}, which is not a file in its folder")
    path = index.parent / name
    if not path.is_file():
        raise UserError(f"{name} is missing: {index.name} names it")
    return path


def mapped(path: Path) -> Tensors:
    """Map the tensors of one file into memory, to be read page by page on access."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except PermissionError:
        raise UserError(f"{path.name} cannot be read: check its permissions") from None
    # A damaged header may name a number type that torch does not have, or a huge size.
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, LookupError) as error:
        raise UserError(f"{path.name} is damaged or cut short: {error}") from None
