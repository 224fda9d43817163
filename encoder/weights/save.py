"""Write a model as a folder that `transformers` opens."""

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

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel


def save(model: "PretrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors`; both are complete before either takes its name.

    Parameters that a method added are left out: see `save_added`. Raises `UserError` when they
    cannot be written, the family has no name for a tensor, or the model was rounded to int8.
    """
    tensors, config = saved_tensors(model), hf_config(model)
    try:
        with (
            atomic_path(folder / "config.json") as config_path,
            atomic_path(folder / "model.safetensors") as tensors_path,
        ):
            write_json(config_path, config)
            save_tensors(tensors, tensors_path, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from None


def saved_tensors(model: "PretrainedModel") -> Tensors:
    """Return the tensors of `model.safetensors`; raise `UserError` as `save` does."""
    state, _ = split_state(headed(model))
    if not all(tensor.is_floating_point() for tensor in state.values()):
        raise UserError("a model in int8 is not saved: save the one of which it was made")
    tensors = hf_tensors(model, state)
    if model.has_decoder and not model.config.tie_word_embeddings:
        tensors = family_that_writes(model).with_second_bias(tensors)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


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
