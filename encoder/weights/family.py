"""A family of models on disk: one table of tensor names, and one translation of the config.

A table pairs our name with theirs; `{}` stands for the number of the layer. Where they keep several
tensors that are one of ours, the right side is a tuple: theirs are concatenated along the first
dimension on the way in, and split evenly on the way out. So each table is read in both directions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
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
    """our module (or parameter) → theirs, for a model with a head; empty: every name is ours"""
    heads: tuple[str, ...]
    """where their names of heads begin, ours and those that we do not have"""
    redundant: tuple[str, ...]
    """buffers of theirs that say nothing new"""
    architectures: Mapping[str, str]
    """our class → theirs, where the names differ"""
    read_config: Callable[[Mapping[str, Any]], EncoderConfig]
    write_config: Callable[[EncoderConfig], dict[str, Any]]
    expresses: Callable[[EncoderConfig], bool]
    """whether a config of this architecture can be written in their terms"""

    def theirs(self, name: str) -> tuple[str, ...]:
        """Their name, or names, for our tensor `name`."""
        if not self.names:
            return (name,)
        template = re.sub(r"\.\d+\.", ".{}.", name)
        layer = re.findall(r"\.(\d+)\.", name)
        module, _, leaf = template.rpartition(".")
        if template in self.names:
            found, suffix = self.names[template], ""
        elif module in self.names:
            found, suffix = self.names[module], f".{leaf}"
        else:
            raise UserError(f"a model of type {self.model_type} has no {name}")
        templates = (found,) if isinstance(found, str) else found
        return tuple(t.format(*layer) + suffix for t in templates)


def to_theirs(ours: Tensors, family: Family) -> Tensors:
    """Our tensors under their names."""
    renamed: Tensors = {}
    for name, tensor in ours.items():
        renamed.update(split(name, tensor, family))
    return renamed


def to_ours(
    theirs: Tensors, wanted: Mapping[str, Tensor], family: Family
) -> tuple[Tensors, list[str]]:
    """Their tensors under our names, as far as they are there, and the names of those missing.

    Raises `UserError` naming the tensors whose shape is not the `wanted` one.
    """
    found: Tensors = {}
    missing: list[str] = []
    wrong: list[str] = []
    for name, target in wanted.items():
        parts = split(name, target, family)
        absent = [source for source in parts if source not in theirs]
        unfit = [s for s, part in parts.items() if s in theirs and theirs[s].shape != part.shape]
        missing += absent
        wrong += [
            f"{source} is {list(theirs[source].shape)}, expected {list(parts[source].shape)}"
            for source in unfit
        ]
        if not absent and not unfit:
            found[name] = torch.cat([theirs[source] for source in parts])
    if wrong:
        raise UserError("tensors of another shape than config.json says: " + listed(wrong))
    return found, missing


def split(name: str, tensor: Tensor, family: Family) -> Tensors:
    """Our tensor `name` as their one tensor, or as the several that it is made of."""
    names = family.theirs(name)
    return dict(zip(names, tensor.chunk(len(names)), strict=True))


def listed(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    first = ", ".join(names[:4])
    return first if len(names) <= 4 else f"{first} and {len(names) - 4} more"
