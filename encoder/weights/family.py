"""A family of models on disk: one table of tensor names, and one translation of the config.

A table pairs our name with theirs; `{}` stands for the number of the layer. Where they keep several
tensors that are one of ours, the right side is a tuple: theirs are concatenated along the first
dimension on the way in, and split evenly on the way out. So each table is read in both directions.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cellar import UserError
from encoder.config import EncoderConfig

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Family:
    """How one `model_type` of Hugging Face maps to ours, and back."""

    model_type: str
    prefix: str
    """what their models with a head put before the encoder's names; ours put `encoder.`"""
    names: Mapping[str, str | tuple[str, ...]]
    """our module (or parameter) → theirs, for a model with a head"""
    redundant: tuple[str, ...]
    """tensors of theirs that say nothing new: buffers, and copies of tied weights"""
    architectures: Mapping[str, str]
    """our class → theirs"""
    read_config: Callable[[Mapping[str, Any]], EncoderConfig]
    write_config: Callable[[EncoderConfig], dict[str, Any]]
    expresses: Callable[[EncoderConfig], bool]
    """whether a config of this architecture can be written in their terms"""

    def theirs(self, name: str) -> tuple[str, ...]:
        """Their name, or names, for our tensor `name`."""
        template = re.sub(r"\.\d+\.", ".{}.", name)
        layer = re.findall(r"\.(\d+)\.", name)
        module, _, leaf = template.rpartition(".")
        if template in self.names:
            found, suffix = self.names[template], ""
        elif module in self.names:
            found, suffix = self.names[module], f".{leaf}"
        else:
            raise KeyError(f"{self.model_type} has no name for {name}")
        templates = (found,) if isinstance(found, str) else found
        return tuple(t.format(*layer) + suffix for t in templates)


def to_theirs(ours: Tensors, family: Family) -> Tensors:
    """Our tensors under their names."""
    renamed: Tensors = {}
    for name, tensor in ours.items():
        targets = family.theirs(name)
        parts = tensor.chunk(len(targets)) if len(targets) > 1 else (tensor,)
        renamed.update(zip(targets, parts, strict=True))
    return renamed


def to_ours(
    theirs: Tensors, wanted: Mapping[str, Tensor], family: Family
) -> tuple[Tensors, list[str]]:
    """Their tensors under our names, as far as they are there, and the names of those missing.

    Raises `UserError` naming every tensor whose shape is not the `wanted` one.
    """
    found: Tensors = {}
    missing: list[str] = []
    wrong: list[str] = []
    for name, target in wanted.items():
        sources = family.theirs(name)
        absent = [source for source in sources if source not in theirs]
        if absent:
            missing.extend(absent)
            continue
        parts = [theirs[source] for source in sources]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        if tensor.shape != target.shape:
            wrong.append(f"{sources[0]} is {list(tensor.shape)}, expected {list(target.shape)}")
        found[name] = tensor
    if wrong:
        raise UserError("tensors that do not have the shape the config says: " + "; ".join(wrong))
    return found, missing
