"""Save heads on one encoder as a folder for each, with the encoder's weights stored once.

    OUT/NAME/model.safetensors.index.json   the file of each tensor: one of these two
    OUT/NAME/encoder.safetensors            the encoder: one file under several names (hard links)
    OUT/NAME/head.safetensors               the head, and a pooler that not all heads read

OUT/NAME is an ordinary folder of Hugging Face, whose weights are in two shards: `evaluate`,
`predict` and `transformers` open it alone, and it may be copied or moved. On a file system without
hard links each folder has a copy of the encoder.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError

from plainformer.base import UserError, atomic_path, write_json
from plainformer.base.tensors import save_tensors
from plainformer.encoder.heads import HeadedModel
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.family import Tensors
from plainformer.encoder.weights.save import family_that_writes, hf_config, saved_tensors

INDEX, ENCODER, HEAD = "model.safetensors.index.json", "encoder.safetensors", "head.safetensors"


def save_heads(models: Mapping[str, PretrainedModel], folder: Path) -> None:
    """Write the config and the weights of each model into its folder; all have one encoder.

    Raises `UserError` when they cannot be written.
    """
    prefix = family_that_writes(next(iter(models.values())).saved).prefix
    tensors = {name: own_tensors(model) for name, model in models.items()}
    common = set[str].intersection(*(set(of_one) for of_one in tensors.values()))
    common = {name for name in common if name.startswith(prefix)}
    first = next(iter(models))
    try:
        for name, model in models.items():
            place, own = folder / name, tensors[name]
            place.mkdir(parents=True, exist_ok=True)
            model.save_files(place)
            if name == first:
                write(place / ENCODER, {n: t for n, t in own.items() if n in common})
            else:
                link(folder / first / ENCODER, place / ENCODER)
            if head := {n: t for n, t in own.items() if n not in common}:
                write(place / HEAD, head)
            write_json(place / INDEX, index_of(own, common))
            write_json(place / "config.json", hf_config(model.saved))
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the models to {folder}: {error}") from None


def own_tensors(model: PretrainedModel) -> Tensors:
    """Return the saved tensors of a model, without a pooler that only other heads read.

    Those of a bare encoder, which keeps the pooler, are named as under a head.
    """
    saved = model.saved
    family = family_that_writes(saved)
    tensors = family.with_prefix(saved_tensors(saved))
    if not isinstance(saved, HeadedModel) or saved.needs_pooler(saved.config):
        return tensors
    pooler = f"{family.prefix}pooler."
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(pooler)}


def index_of(tensors: Tensors, common: set[str]) -> dict[str, object]:
    """Return the content of the index: the file of each tensor, and the size of all."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    places = {name: ENCODER if name in common else HEAD for name in sorted(tensors)}
    return {"metadata": {"total_size": size}, "weight_map": places}


def write(path: Path, tensors: Tensors) -> None:
    """Write tensors to a file, which appears when it is complete."""
    with atomic_path(path) as temporary:
        save_tensors(tensors, temporary, metadata={"format": "pt"})


def link(source: Path, target: Path) -> None:
    """Give a file a second name, `target`; copy it where the file system has no hard links."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
