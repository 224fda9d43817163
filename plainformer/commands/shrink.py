"""`plainformer shrink RUN --data F --out DIR`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from plainformer.deploy.measured import Measured, comparison
from plainformer.deploy.shrink import ShrinkOptions, shrink
from plainformer.line import Positional
from plainformer.options import parse
from plainformer.tables import print_table


@dataclass(frozen=True)
class ShrinkCommand:
    """Make a fine-tuned model smaller or faster, and measure what that costs.

    The steps are taken in the order of this help: vocabulary, layers, heads, units, zeros,
    training, 16 or 8 bits. Size, speed and scores of both models are measured on --data, one beside
    the other. Where the first score falls by more than --tolerance, nothing is written.
    """

    GROUPS: ClassVar[Mapping[str, str]] = {"run": "data", "options": "what is removed"}
    """First option of each group -> the heading of the group in the help."""

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Labelled examples to measure on: a file, or the name of a data set (its test split)."""

    out: Path
    """A new folder for the smaller model, with tokenizer and labels."""

    columns: tuple[str, ...] = ()
    """Read these columns of the files: --columns text=review label=stars. By default those of
    training."""

    options: ShrinkOptions = field(default_factory=ShrinkOptions)
    """The parts to remove, the training after it, and the number formats."""


def run(arguments: Sequence[str]) -> None:
    """Shrink, and print what both models were measured at."""
    command = parse(ShrinkCommand, "shrink", arguments)

    def report(results: Sequence[Measured]) -> None:
        print_table(comparison(results, ("the run", "smaller")))

    shrink(command.run, command.data, command.out, command.options, command.columns, report=report)
    print(f"the smaller model, with tokenizer and labels, is in {command.out}")
