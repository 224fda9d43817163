"""Save and load the parameters that a method adds to a model, apart from the model's own.

    added.safetensors   the added tensors, by their names in the model
    added.json          the layers that they are added to: {name: {"type": …, "added": [name, …]}}

`save_pretrained` leaves them out, so that its folder stays one of Hugging Face. A method's modules
name them by `added_parameters`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from torch import nn

from plainformer.base import Fields, UserError, atomic_path, read_json, write_json
from plainformer.base.tensors import save_tensors
from plainformer.encoder.weights.family import Tensors, listed
from plainformer.encoder.weights.folder import mapped

FORMAT = 1
TENSORS = "added.safetensors"
DESCRIPTION = "added.json"


@runtime_checkable
class HasAddedParameters(Protocol):
    """A module of a method, with parameters that the model alone does not have."""

    def added_parameters(self) -> Iterable[str]:
        """Return the names of the added parameters and buffers, as in the module's state."""
        ...


def added_layers(model: nn.Module) -> dict[str, Any]:
    """Describe the modules of `model` that have added parameters, by their names."""
    return {
        name: {"type": type(module).__name__, "added": list(module.added_parameters())}
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, HasAddedParameters)
    }


def split_state(model: nn.Module) -> tuple[Tensors, Tensors]:
    """Return the state of `model` in two: its own tensors, and the added ones."""
    added = {
        f"{layer}.{name}".removeprefix(".")
        for layer, description in added_layers(model).items()
        for name in description["added"]
    }
    state: Tensors = model.state_dict()
    own = {name: tensor for name, tensor in state.items() if name not in added}
    return own, {name: state[name] for name in sorted(added)}


def save_added(model: nn.Module, folder: str | Path) -> None:
    """Write the added parameters of `model` into `folder`.

    Raises `UserError` when there are none, or the folder cannot be written.
    """
    folder = Path(folder)
    _, added = split_state(model)
    if not added:
        raise UserError("the model has no added parameters to save")
    try:
        with (
            atomic_path(folder / DESCRIPTION) as description,
            atomic_path(folder / TENSORS) as tensors,
        ):
            write_json(description, {"format": FORMAT, "layers": added_layers(model)})
            save_tensors({name: tensor.contiguous() for name, tensor in added.items()}, tensors)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the added parameters to {folder}: {error}") from None


@torch.no_grad()
def load_added(model: nn.Module, folder: str | Path) -> None:
    """Copy the added parameters that `save_added` left in `folder` into those of `model`.

    Raises `UserError`, and changes nothing, when they were added by another method, or to other
    layers, or are damaged.
    """
    folder = Path(folder)
    saved = Fields(read_json(folder / DESCRIPTION), folder / DESCRIPTION)
    if saved.whole("format") != FORMAT:
        raise saved.wrong("format", str(FORMAT))
    theirs, ours = saved.fields("layers").values, added_layers(model)
    differing = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if differing:
        raise UserError(
            f"{folder / DESCRIPTION}: its added parameters differ from the model's in "
            + listed(differing)
        )
    try:
        tensors = mapped(folder / TENSORS)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    _, places = split_state(model)
    wrong = sorted(tensors.keys() ^ places.keys()) or [
        name
        for name, place in places.items()
        if tensors[name].shape != place.shape or not tensors[name].isfinite().all()
    ]
    if wrong:
        raise UserError(
            f"{folder / TENSORS}: tensors that are missing, unexpected, of another shape or not "
            f"finite: {listed(wrong)}"
        )
    for name, place in places.items():
        place.copy_(tensors[name])
