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
    """Hold a model against `transformers`: each layer, the head, the tokenizer, the speed.

    Leaves with exit code 1 when a number is off by more than the tolerance, or a token differs.
    """

    model: Positional[Path]
    """Folder of the model, with its tokenizer."""

    text: Path | None = None
    """Compare on the texts of this file; a few built-in sentences without it."""

    tolerance: float = 1e-5
    """The largest difference that counts as equal: absolute up to 1, above that as a share of the
    largest number of the stage."""

    out: Path | None = None
    """Save parity.png, a picture of error against depth, and parity.json in this folder."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, tolerance=above(0))


def run(arguments: Sequence[str]) -> int:
    """Compare, show the tables, and give the exit code."""
    options = parse(CompareOptions, "compare", arguments)
    from plainformer.corpora import read_texts
    from plainformer.explain import compare_folder

    texts = {} if options.text is None else {"texts": list(read_texts(options.text))}
    out = nullcontext() if options.out is None else replaced_folder(options.out, "compare")
    with out as folder:
        comparison = compare_folder(options.model, tolerance=options.tolerance, **texts)
        if folder is not None:  # before anything is printed: nobody may be reading
            comparison.draw(folder / "parity.png")
            write_json(folder / "parity.json", nan_to_null(comparison.to_json()))
    show(comparison)
    if options.out is not None:
        print(f"the picture and the numbers are in {options.out}")
    return 0 if comparison.agrees else 1


def show(comparison: "Comparison") -> None:
    """Print the comparison as tables, and what it comes to."""
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
