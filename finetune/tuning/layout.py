"""Name the linear layers of a model as `peft` names them: by their places in the base model.

A family of models may keep a fused layer in parts (BERT's query, key and value), or as the one that
it is here (ModernBERT's Wqkv). A `Place` is what the base model has for one linear layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plainformer.base import Fields, UserError
from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import Adapter
from plainformer.encoder.weights.family import Tensors, headed
from plainformer.encoder.weights.save import family_that_writes


@dataclass(frozen=True)
class Place:
    """A linear layer of the base model, and the rows that it is of a layer here."""

    layer: str
    """The name of the layer here, in the model that is saved."""
    part: str
    """The name of its part: "query", "query+key+value" or "output"."""
    rows: slice


@dataclass(frozen=True)
class Layout:
    """The names of a method's added parameters in the files of `peft`."""

    peft_type: str
    holds: Callable[[PretrainedModel], bool]
    """Tell whether a model has parameters of this method."""
    write: Callable[[PretrainedModel], tuple[dict[str, Any], Tensors]]
    """Return the fields of `adapter_config.json`, and the tensors by the names of the base."""
    read: Callable[[PretrainedModel, Adapter, Tensors], set[str]]
    """Add the tensors to a model, and return the names of those that are understood."""


def places(model: PretrainedModel) -> dict[str, Place]:
    """Map the names that the base has for the linear layers in the blocks to their places here.

    They are the names in a model with a head, as `Family.with_prefix` gives them.
    """
    found, family = {}, family_that_writes(model)
    prefix = "encoder." if model.base is model else ""
    for name, layer in model.named_modules():
        if not isinstance(layer, Linear) or ".blocks." not in f".{name}":
            continue
        own = layer.fused_parts or (name.rpartition(".")[2],)
        theirs = family.hf_names(f"{prefix}{name}.weight", model.class_name)
        names = own if len(theirs) == len(own) else ("+".join(own),)
        size = layer.out_features // len(names)
        for number, (path, part) in enumerate(zip(theirs, names, strict=True)):
            rows = slice(number * size, (number + 1) * size)
            found[path.removesuffix(".weight")] = Place(name, part, rows)
    return found


def own_tensors(model: PretrainedModel, names: set[str]) -> Tensors:
    """Return parameters of the model alone, which were trained with the added ones, by their names.

    They are the head, a new pooler, and whatever requires a gradient among `names`.
    """
    state = headed(model).state_dict()
    chosen = {
        name: tensor
        for name, tensor in state.items()
        if name in names
        and (
            name in model.newly_initialised
            or (not name.startswith("encoder.") and not model.has_decoder)
        )
    }
    trained = {
        name for name, p in headed(model).named_parameters() if p.requires_grad and name in names
    }
    chosen |= {name: state[name] for name in trained}
    return family_that_writes(model).to_hf(chosen, model.class_name)


def places_by_layer(
    model: PretrainedModel, tensors: Tensors, end: str
) -> dict[str, dict[str, Place]]:
    """Group the places that have a tensor NAME.`end` by their layer: {layer: {NAME: place}}."""
    found: dict[str, dict[str, Place]] = {}
    for name, place in places(model).items():
        if f"{name}.{end}" in tensors:
            found.setdefault(place.layer, {})[name] = place
    return found


def plain_layer(model: PretrainedModel, path: str) -> Linear:
    """Return a layer to add parameters to; raise `UserError` where it has some."""
    layer = model.get_submodule(path)
    if type(layer) is not Linear:
        raise UserError(f"{path} is a {type(layer).__name__} already")
    return layer


def needed(settings: Fields, **values: Any) -> None:
    """Raise `UserError` where a field has another value than the only one that is supported."""
    for name, value in values.items():
        if settings.values.get(name, value) not in (value, None):
            raise settings.wrong(name, repr(value))
