"""`plainformer inspect VIEW RUN …`: each view is a file with its options and a function `show`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated

from plainformer.base import OneOf
from plainformer.commands.inspect.attention import AttentionOptions
from plainformer.commands.inspect.heads import HeadsOptions
from plainformer.commands.inspect.influence import InfluenceOptions
from plainformer.commands.inspect.layers import LayersOptions
from plainformer.commands.inspect.map import MapOptions
from plainformer.commands.inspect.neighbours import NeighboursOptions
from plainformer.commands.inspect.view import ViewOptions
from plainformer.line import Positional
from plainformer.options import parse

VIEWS: dict[str, type[ViewOptions]] = {
    "attention": AttentionOptions,
    "heads": HeadsOptions,
    "layers": LayersOptions,
    "map": MapOptions,
    "neighbours": NeighboursOptions,
    "influence": InfluenceOptions,
}
"""Name of a view -> its options."""


@dataclass(frozen=True)
class InspectOptions:
    """Look inside a model: its heads, its layers, and the training examples behind its answers."""

    run: Positional[Path]
    """Folder of the model."""

    view: Annotated[ViewOptions, OneOf(VIEWS)] = field(default_factory=AttentionOptions)
    """The view: attention, heads, layers, map, neighbours, or influence."""


def run(arguments: Sequence[str]) -> None:
    """Show a view of a model."""
    options = parse(InspectOptions, "inspect", arguments)
    module = import_module(f"plainformer.commands.inspect.{options.view.name}")
    module.show(options.run, options.view)
