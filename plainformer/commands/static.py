"""`plainformer static MODEL --out DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import at_least, check_bounds
from plainformer.deploy.measured import Measured, comparison
from plainformer.deploy.static import distil_folder
from plainformer.line import Positional
from plainformer.options import parse
from plainformer.tables import print_table


@dataclass(frozen=True)
class StaticOptions:
    """Distil an encoder into static token vectors: a table that is looked up, without an encoder.

    The vector of a sentence is the mean of its tokens' vectors: a hundred times as fast, and
    blind to the order of words. `embed`, `evaluate` and `serve` open the result, and so do
    sentence-transformers and model2vec.
    """

    model: Positional[Path]
    """Folder of an encoder of sentences: a sentence-transformers model, or any encoder."""

    out: Path
    """A new folder for the vectors, with their tokenizer."""

    size: int = 256
    """The numbers of a vector: the first principal components."""

    data: str | None = None
    """Pairs of sentences, with scores or without, to measure both models on: a file, or the name of
    a data set (its test split)."""

    columns: tuple[str, ...] = ()
    """Read these columns of the files: --columns text=first pair=second score=stars."""

    vocabulary: tuple[str, ...] = ()
    """Keep only the tokens of the texts in these files (or sets by name), with all special tokens
    and single characters: a smaller table."""

    tolerance: float = 0.2
    """The largest fall of the first score on --data that is accepted; if it falls by more, nothing
    is written. Static vectors lose more than other ways to a smaller model: a Spearman correlation
    usually falls by 0.1 to 0.2."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, size=at_least(1), tolerance=at_least(0))


def run(arguments: Sequence[str]) -> None:
    """Distil, and print what both models were measured at."""
    options = parse(StaticOptions, "static", arguments)

    def report(results: Sequence[Measured]) -> None:
        print_table(comparison(results, ("the encoder", "static")))

    distil_folder(
        options.model,
        options.out,
        options.size,
        options.data,
        options.columns,
        options.vocabulary,
        options.tolerance,
        report,
    )
    print(f"the static vectors, with their tokenizer, are in {options.out}")
