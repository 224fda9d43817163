"""Convert the `pytorch_model.bin` of a model, or those of a sentence model, to safetensors.

A `.bin` is a pickle: a program that builds objects and may run any code. Such files are read only
here, and only with `torch.load(weights_only=True)`, which accepts tensors and plain containers and
refuses everything else.

safetensors does not store shared memory. A decoder tied to the embeddings is dropped, as
`transformers` does on saving; other tensors that share memory are copied.
"""

import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from plainformer.base import Fields, UserError, read_json, replaced_folder
from plainformer.base.tensors import save_tensors
from plainformer.encoder.weights.folder import named_file
from plainformer.encoder.weights.sentence import MODULES, READERS, SETTINGS, WEIGHTS, module_folders

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
"""Files that are copied beside the weights."""
OTHER_FRAMEWORKS = {
    "tf_model.h5": "TensorFlow",
    "*.ckpt*": "TensorFlow",
    "saved_model.pb": "TensorFlow",
    "flax_model*.msgpack": "Flax",
}
"""Weight files of other frameworks, which are not read."""
TIED = ("decoder.weight", "decoder.bias", "lm_head.weight", "vocab_projector.weight")
"""Endings of the names of tensors that `transformers` ties to another."""
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of characters, which no file name or JSON text in UTF-8 can hold."""
MOST_TIMES = 64
"""The largest accepted ratio of written bytes to bytes in the file: tensors that share memory, as
tied layers do, are written once each."""
DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    MemoryError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    struct.error,
)
"""Exceptions of the unpickler for damaged files."""


def convert(folder: str | Path, out: str | Path) -> int:
    """Write the model and the tokenizer of `folder` to `out` with safetensors weights.

    The modules of sentence-transformers (`modules.json`) go with them, each with its weights. The
    tensors keep their names and their number format. Returns how many were converted. Raises
    `UserError` when there is no such file or it is refused, damaged or of another framework, when
    `out` holds anything but an earlier conversion, and when `Encoder` does not load the model.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    first, *others = module_folders(folder)
    if not (folder / first / "config.json").is_file():
        raise UserError(f"{folder / first} is no model folder: it has no config.json")
    try:
        with replaced_folder(out, "convert") as unfinished:
            pickled = {place: folder / place / ONE_FILE for place in others}
            pickled = {place: path for place, path in pickled.items() if path.is_file()}
            # If only a module is pickled, the encoder has safetensors already: copy them.
            ready = sorted((folder / first).glob("model*.safetensors*")) if pickled else []
            converted = {place: read_pickled(path) for place, path in pickled.items()}
            if not ready:
                converted[first] = {}
                for path in weight_files(folder / first):
                    converted[first].update(read_pickled(path))
                if _ties(folder / first / "config.json"):
                    converted[first] = without_ties(converted[first])
            check_size([tensor for own in converted.values() for tensor in own.values()], out)
            for place in {"", first, *others}:
                copied = [WEIGHTS] if place in others else []
                for name in (*CARRIED, *copied):
                    _copy(folder / place / name, unfinished / place)
            for path in ready:
                _copy(path, unfinished / first)
            for place, tensors in converted.items():
                (unfinished / place).mkdir(parents=True, exist_ok=True)
                path = unfinished / place / WEIGHTS
                save_tensors(without_shared_memory(tensors), path, metadata={"format": "pt"})
            _check(unfinished / first)
    except (OSError, SafetensorError, LookupError) as error:  # LookupError: unknown number type
        raise UserError(f"cannot write {out}: {getattr(error, 'strerror', error)}") from None
    return sum(map(len, converted.values()))


def _copy(source: Path, folder: Path) -> None:
    """Copy a file into a folder, if there is such a file."""
    if source.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / source.name)


def weight_files(folder: Path) -> list[Path]:
    """List the pickles that hold the weights: one, or the shards that an index names."""
    if (folder / ONE_FILE).is_file():
        return [folder / ONE_FILE]
    if (folder / INDEX).is_file():
        return list(_shards(folder / INDEX))
    if any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} holds safetensors already: there is nothing to convert")
    for pattern, framework in OTHER_FRAMEWORKS.items():
        if found := sorted(folder.glob(pattern)):
            raise UserError(
                f"{found[0]} is a {framework} checkpoint, which is not read here: load it with a "
                "version of transformers that has from_tf or from_flax, and save it again"
            )
    raise UserError(f"{folder} has no {ONE_FILE}, and no {INDEX}")


def _shards(index: Path) -> Iterator[Path]:
    """Yield the files of an index."""
    files = Fields(read_json(index), index).fields("weight_map")
    if not files.values:
        raise UserError(f"{index} is damaged: it has no weight_map of names and files")
    for name in sorted({files.text(tensor) for tensor in files.values}):
        yield named_file(index, name)


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a pickle, mapped where its format allows it; run no code in it."""
    try:
        # Before PyTorch 1.6 the file was no archive, and cannot be mapped.
        archive = zipfile.is_zipfile(path)
        numbers = bytes_of_numbers(path) if archive else None
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UserError(
                f"{path} is refused: beside tensors it holds {found[1]}, and opening that could "
                "run code; take the weights from a source that has them as safetensors"
            ) from None
        raise UserError(f"{path} is damaged, or no file of PyTorch's: fetch it again") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: see its permissions") from None
    except (*DAMAGED, zipfile.BadZipFile):
        raise UserError(f"{path} is damaged or cut short: fetch it again") from None
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{path} holds no named tensors, but a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{path} holds {name!r}, a {type(value).__name__}: a checkpoint of training, it "
                "seems, and not the weights of a model"
            )
        odd = value.is_nested or value.is_quantized or value.is_meta or value.is_complex()
        if odd or value.layout is not torch.strided or _SURROGATE.search(name):
            raise UserError(f"{path} holds {name!r:.60}, which is not a dense tensor of numbers")
    tensors = {name: value.detach() for name, value in loaded.items()}
    # Where a part of an archive is too short, torch continues into the next one.
    if numbers is not None and numbers != memory_of(tensors.values()):
        raise UserError(f"{path} is damaged or cut short: fetch it again")
    return tensors


def bytes_of_numbers(path: Path) -> int:
    """Count the bytes of all tensors' storages in an archive.

    Refuses compressed archives: PyTorch writes none, and a few MB could expand to terabytes.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise UserError(f"{path} is a compressed archive, which PyTorch does not write: unpack it")
    return sum(part.file_size for part in parts if "/data/" in part.filename)


def memory_of(tensors: Collection[Tensor]) -> int:
    """Count the bytes of the storages behind the tensors."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def without_ties(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop tensors that are tied to another: same memory, same shape and strides."""
    first: dict[tuple[object, ...], str] = {}
    # The tensor that others are tied to comes first, and is kept.
    for name in sorted(tensors, key=lambda name: name.endswith(TIED)):
        tensor = tensors[name]
        memory = tensor.untyped_storage().data_ptr()
        view = (memory, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if not (name.endswith(TIED) and view in first):
            first.setdefault(view, name)
            first[(name,)] = name
    return {name: tensor for name, tensor in tensors.items() if (name,) in first}


def check_size(tensors: Collection[Tensor], out: Path) -> None:
    """Compare the bytes to write with those of the file, and with the free disk space.

    An expanded view may repeat one number any number of times, which no real weights do.
    """
    written, stored = sum(tensor.nbytes for tensor in tensors), memory_of(tensors)
    if written > MOST_TIMES * stored:
        raise UserError(
            f"written out, the tensors take {written / 2**30:,.1f} GiB, of "
            f"{stored / 2**20:,.1f} MiB in the file: expanded views are not supported"
        )
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if written > free:
        raise UserError(
            f"cannot write {out}: the tensors take {written / 2**30:,.1f} GiB, and "
            f"{free / 2**30:,.1f} GiB are free"
        )


def without_shared_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor its own memory, as safetensors requires."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        own[name] = (tensor.clone() if memory in seen else tensor).contiguous()
        seen.add(memory)
    return own


def _ties(config: Path) -> bool:
    """Tell whether the config ties the decoder to the embeddings."""
    return Fields(read_json(config), config).flag("tie_word_embeddings", True)


def _check(unfinished: Path) -> None:
    """Raise `UserError` when the encoder does not load from the written folder."""
    from plainformer.encoder.model import Encoder

    try:
        Encoder.from_pretrained(unfinished)
    except UserError as error:
        reason = str(error).removeprefix(f"{unfinished}: ").replace(f"{unfinished}/", "")
        raise UserError(f"the converted model does not load: {reason}") from None
