"""`plainformer compare FOLDER`."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plainformer.base import above, check_bounds, nan_to_null, replaced_folder, write_json
from plainformer.line import Positional
from plainformer.options import parse

if TYPE_CHECKING:
    from plainformer.explain import Comparison


@dataclass(frozen=True)
class CompareOptions:
    """Compare a model with `transformers`: each layer, the head, the tokenizer, the speed.

    The exit code is 1 if a number differs by more than the tolerance, or a token differs.
    """

    model: Positional[Path]
    """Folder of the model, with its tokenizer."""

    text: Path | None = None
    """File of texts to compare on, one a line; by default a few built-in sentences."""

    tolerance: float = 1e-5
    """Differences up to this count as equal: absolute, or relative to the largest number of the
    layer's output if that is above 1."""

    out: Path | None = None
    """Folder for parity.png, the error by depth, and parity.json."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, tolerance=above(0))


def run(arguments: Sequence[str]) -> int:
    """Compare, print the tables, and return the exit code."""
    options = parse(CompareOptions, "compare", arguments)
    from plainformer.corpora import read_texts
    from plainformer.explain import compare_folder

    texts = {} if options.text is None else {"texts": list(read_texts(options.text))}
    out = nullcontext() if options.out is None else replaced_folder(options.out, "compare")
    with out as folder:
        comparison = compare_folder(options.model, tolerance=options.tolerance, **texts)
        if folder is not None:  # before printing, which a closed pipe ends
            comparison.draw(folder / "parity.png")
            write_json(folder / "parity.json", nan_to_null(comparison.to_json()))
    show(comparison)
    if options.out is not None:
        print(f"the picture and the numbers are in {options.out}")
    return 0 if comparison.agrees else 1


def show(comparison: "Comparison") -> None:
    """Print the comparison as tables, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    stages = Table("", box=None, header_style="bold", title=comparison.architecture)
    for column in ("max |difference|", "mean", "least cosine", "largest number", "vectors"):
        stages.add_column(column, justify="right")
    for stage in comparison.stages:
        stages.add_row(
            stage.stage,
            f"{stage.maximum:.2e}",
            f"{stage.mean:.2e}",
            f"{stage.cosine:.8f}",
            f"{stage.largest:.2f}",
            f"{stage.vectors:,}",
            style=None if stage.within(comparison.tolerance) else "red",
        )
    console.print(stages)
    for agreement in comparison.tokenizers:
        style = None if agreement.equal == agreement.total else "red"
        line = (
            f"{agreement.what} equal on {agreement.equal:,} of {agreement.total:,} {agreement.unit}"
        )
        console.print(line, style=style)
    sides = Table("", box=None, header_style="bold")
    for column in ("parameters", "µs per token"):
        sides.add_column(column, justify="right")
    rows = zip(comparison.parameters, comparison.microseconds_per_token, strict=True)
    for name, (parameters, microseconds) in zip(("plainformer", "transformers"), rows, strict=True):
        sides.add_row(name, f"{parameters:,}", f"{microseconds:.1f}")
    console.print(sides)
    if comparison.agrees:
        console.print(f"equal, to {comparison.tolerance:g}")
    elif comparison.hint is None:
        console.print("the models agree; the tokenizers do not", style="red")
    else:
        console.print(comparison.hint, style="red")
