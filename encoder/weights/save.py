"""Write a model as a folder that `transformers` opens, unless its weights are in int8."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor

from plainformer.base import UserError, atomic_path, write_json
from plainformer.base.tensors import save_tensors
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.weights.added import split_state
from plainformer.encoder.weights.families import FAMILIES
from plainformer.encoder.weights.family import Family, Tensors, headed
from plainformer.encoder.weights.settings import write_settings
from plainformer.encoder.weights.storage import (
    DTYPES,
    FLOAT_FILE,
    INT8_FILE,
    RANGES,
    Activations,
    Storage,
    quantization_config,
)

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel


AS_IT_IS = Storage()


def save(model: "PretrainedModel", folder: Path, storage: Storage = AS_IT_IS) -> None:
    """Write `config.json` and `model.safetensors`; both are complete before either takes its name.

    `storage` rounds the numbers in the file; in int8 it has another name: see `weights.storage`.
    Parameters that a method added are left out: see `save_added`. Raises `UserError` when they
    cannot be written, or the family has no name for a tensor.
    """
    tensors, config = saved_tensors(model, storage), hf_config(model)
    is_int8 = any(not tensor.is_floating_point() for tensor in tensors.values())
    if is_int8:
        is_static = any(name.endswith(RANGES) for name in tensors)
        made: Activations = "static" if is_static else "int8"
        config |= quantization_config("float" if storage.int8 else made)
    elif storage.weights:
        config["dtype"] = str(DTYPES[storage.weights]).removeprefix("torch.")
    try:
        with (
            atomic_path(folder / "config.json") as config_path,
            atomic_path(folder / (INT8_FILE if is_int8 else FLOAT_FILE)) as tensors_path,
        ):
            write_json(config_path, config)
            save_tensors(tensors, tensors_path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from None


def saved_tensors(model: "PretrainedModel", storage: Storage = AS_IT_IS) -> Tensors:
    """Return the tensors of the file of weights; raise `UserError` as `save` does."""
    state, _ = split_state(headed(model))
    if storage.int8 and not all(tensor.is_floating_point() for tensor in state.values()):
        raise UserError("the model is in int8 already")
    tensors = hf_tensors(model, storage.apply(dict(state)))
    if model.has_decoder and not model.config.tie_word_embeddings:
        tensors = family_that_writes(model).with_second_bias(tensors)
    shared = (".input_scale", ".input_zero")  # by the parts of a fused product
    return {n: t.clone() if n.endswith(shared) else t.contiguous() for n, t in tensors.items()}


def family_that_writes(model: "PretrainedModel") -> Family:
    """Find the family that has names for the config of `model`."""
    return family_of_config(model.config)


@cache
def family_of_config(config: EncoderConfig) -> Family:
    """Find the first family that has names for all of a config."""
    return next(f for f in FAMILIES.values() if f.expresses(config))


def hf_config(model: "PretrainedModel") -> dict[str, Any]:
    """Return the `config.json` of `model`."""
    family = family_that_writes(model)
    config = family.write_config(model.config) | write_settings(model)
    config["architectures"] = [family.architectures[model.class_name]]
    return config


def hf_tensors(model: "PretrainedModel", state: Mapping[str, Tensor]) -> Tensors:
    """Rename tensors of `headed(model)` as the files of `model` name them."""
    family = family_that_writes(model)
    tensors = family.to_hf(state, model.class_name)
    if model.base is not model:
        return tensors
    return {name.removeprefix(family.prefix): tensor for name, tensor in tensors.items()}
