"""The recipe with two heads that begin at their neighbours (`pretrain/neighbours.py`)."""

from dataclasses import replace

from speedrun_entries import recipe


class Entry(recipe.Entry):
    """The same, with other heads at the start and fewer tokens."""

    recipe = replace(recipe.RECIPE, tokens=0.38, neighbours=True)
