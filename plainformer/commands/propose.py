"""`plainformer propose RUN --file F --out F`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds, plural
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class ProposeOptions:
    """Propose which texts to label next: those that a fine-tuned model would learn most from.

    The rows keep their columns, followed by the score, the most useful first.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    file: str
    """Texts without labels to choose from: a text in each line, or rows with the columns of the
    task (.jsonl .csv .tsv .parquet)."""

    out: Path
    """Write the chosen rows to this .jsonl, .csv or .tsv file."""

    count: int = 50
    """Number of rows to choose."""

    by: Literal["entropy", "margin", "coreset"] = "entropy"
    """Choose by uncertainty: the entropy of the answers (of words and labels their mean), or the
    margin between the two most probable ones (the least of words and labels). coreset: choose texts
    far from the labelled ones and from each other, for any task."""

    labelled: str | None = None
    """Examples that are labelled already, for --by coreset. By default those of training."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review. By default as in training."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, count=at_least(1))


def run(arguments: Sequence[str]) -> None:
    """Choose rows, and write them."""
    options = parse(ProposeOptions, "propose", arguments)
    from plainformer.finetune.labels.propose import check_proposal, propose, write_proposals

    check_proposal(options.by, options.labelled, options.file, options.out)
    found = propose(
        options.run, options.file, options.count, options.by, options.labelled, options.columns
    )
    write_proposals(found, options.out)
    first, last = found[0][1].score, found[-1][1].score
    what = "distance" if options.by == "coreset" else options.by
    rows = plural(len(found), "row")
    print(f"{rows}, of {what} {first:.3f} to {last:.3f}, in {options.out}")
