"""An old `pytorch_model.bin` becomes a safetensors folder, and with it those of a sentence model.

A `.bin` is a pickle: a program that builds objects, and that may do anything on the way. This is
the one place where such a file is read, and only with `torch.load(weights_only=True)`, whose
interpreter knows tensors and plain containers and refuses all else; what is refused is not read.

safetensors holds no two names for one memory. A decoder that is tied to the embeddings is dropped,
as `transformers` drops it on saving; whatever else shares memory is written out in full.
"""

import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cellar import Fields, UserError, atomic_folder, read_json
from encoder.weights.sentence import MODULES, READERS, SETTINGS, WEIGHTS, module_folders

ONE_FILE = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"
CARRIED = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    MODULES,
    SETTINGS,
    *READERS,
)
DECLINED = {
    "tf_model.h5": "TensorFlow",
    "*.ckpt*": "TensorFlow",
    "saved_model.pb": "TensorFlow",
    "flax_model*.msgpack": "Flax",
}
TIED = ("decoder.weight", "decoder.bias", "lm_head.weight", "vocab_projector.weight")
"""how the names end that `transformers` ties to another tensor"""


def convert(folder: str | Path, out: str | Path) -> int:
    """Write the model and the tokenizer of `folder` to `out` with safetensors weights.

    The modules of sentence-transformers (`modules.json`) go with them, each with its weights. The
    tensors keep their names and their number format. Returns how many were converted. Raises
    `UserError` when there is no such file or it is refused, damaged or of another framework, when
    `out` holds anything already, and when the model is none that `Encoder` loads.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    first, *others = module_folders(folder)
    if not (folder / first / "config.json").is_file():
        raise UserError(f"{folder / first} is no model folder: it has no config.json")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: name a new folder")
    pickled = {place: folder / place / ONE_FILE for place in others}
    pickled = {place: path for place, path in pickled.items() if path.is_file()}
    # Where a module alone is pickled the encoder is there already.
    whole = sorted((folder / first).glob("model*.safetensors*")) if pickled else []
    converted = {place: read_pickled(path) for place, path in pickled.items()}
    if not whole:
        converted[first] = {}
        for path in weight_files(folder / first):
            converted[first].update(read_pickled(path))
    try:
        with atomic_folder(out) as unfinished:
            for place in {"", first, *others}:
                copied = [WEIGHTS] if place in others else []
                for name in (*CARRIED, *copied):
                    _copy(folder / place / name, unfinished / place)
            for path in whole:
                _copy(path, unfinished / first)
            for place, tensors in converted.items():
                ties = place == first and _ties(folder / first / "config.json")
                converted[place] = own = without_shared_memory(tensors, ties)
                (unfinished / place).mkdir(parents=True, exist_ok=True)
                save_file(own, unfinished / place / WEIGHTS, metadata={"format": "pt"})
            _check(unfinished / first)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    return sum(map(len, converted.values()))


def _copy(source: Path, folder: Path) -> None:
    if source.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / source.name)


def weight_files(folder: Path) -> list[Path]:
    """The pickles that hold the weights: one, or the shards that an index names."""
    if (folder / ONE_FILE).is_file():
        return [folder / ONE_FILE]
    if (folder / INDEX).is_file():
        return list(_shards(folder / INDEX))
    if any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} holds safetensors already: there is nothing to convert")
    for pattern, framework in DECLINED.items():
        if found := sorted(folder.glob(pattern)):
            raise UserError(
                f"{found[0]} is a {framework} checkpoint, which is not read here: load it with a "
                "version of transformers that has from_tf or from_flax, and save it again"
            )
    raise UserError(f"{folder} has no {ONE_FILE}, and no {INDEX}")


def _shards(index: Path) -> Iterator[Path]:
    files = Fields(read_json(index), index).fields("weight_map")
    if not files.values:
        raise UserError(f"{index} is damaged: it has no weight_map of names and files")
    for name in sorted({files.text(tensor) for tensor in files.values}):
        # An index comes from elsewhere: it may name files of its own folder, and no others.
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is no file of its folder")
        if not (index.parent / name).is_file():
            raise UserError(f"{index} names {name}, which is missing: fetch the shard")
        yield index.parent / name


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The named tensors of a pickle, mapped where the format allows it; nothing in it is run."""
    try:
        # Before PyTorch 1.6 the file was no archive, and cannot be mapped.
        held: Any = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UserError(
                f"{path} is refused: beside tensors it holds {found[1]}, and opening that could "
                "run code; take the weights from a source that has them as safetensors"
            ) from None
        raise UserError(f"{path} is damaged, or no file of PyTorch's: fetch it again") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: see its permissions") from None
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged or cut short: fetch it again") from None
    if not isinstance(held, dict) or not held:
        raise UserError(f"{path} holds no named tensors, but a {type(held).__name__}")
    for name, value in held.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{path} holds {name!r}, a {type(value).__name__}: a checkpoint of training, it "
                "seems, and not the weights of a model"
            )
    return {name: value.detach() for name, value in held.items()}


def without_shared_memory(tensors: dict[str, Tensor], ties: bool) -> dict[str, Tensor]:
    """The tensors, each in memory of its own; tied ones are left out where the model `ties` them.

    Only an exact alias counts as tied: the same memory, seen in the same way.
    """
    first: dict[tuple[object, ...], str] = {}
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    # What others are tied to comes first, so that it is what stays.
    for name in sorted(tensors, key=lambda name: name.endswith(TIED)):
        tensor = tensors[name]
        memory = tensor.untyped_storage().data_ptr()
        view = (memory, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if ties and view in first and name.endswith(TIED):
            continue
        first.setdefault(view, name)
        own[name] = tensor.clone() if memory in seen else tensor
        own[name] = own[name].contiguous()
        seen.add(memory)
    return {name: own[name] for name in tensors if name in own}


def _ties(config: Path) -> bool:
    return Fields(read_json(config), config).flag("tie_word_embeddings", True)


def _check(unfinished: Path) -> None:
    """Raise `UserError` when the encoder does not load from what was written."""
    from encoder.model import Encoder

    try:
        Encoder.from_pretrained(unfinished)
    except UserError as error:
        reason = str(error).removeprefix(f"{unfinished}: ").replace(f"{unfinished}/", "")
        raise UserError(f"what was read is no model that loads here: {reason}") from None
