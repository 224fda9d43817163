"""`plainformer fairness RUN --data F --group COLUMN … --swap LIST …`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plainformer.base import (
    UserError,
    at_least,
    check_bounds,
    refuse_no_folder,
    refuse_same_file,
    refuse_unused,
)
from plainformer.line import Positional
from plainformer.options import parse

if TYPE_CHECKING:
    from plainformer.explain.fairness import GroupReport, SwapReport

SHOWN_DIRECTIONS = 6
SHOWN_FLIPS = 5


@dataclass(frozen=True)
class FairnessOptions:
    """Measure for whom a fine-tuned model fails, and whether he and she get the same answer.

    With --group: the scores of the task in each group of rows, demographic parity and equalised
    odds of each label, recall of entities, errors of scores; all with 95 % intervals. With --swap:
    how often answers change when words are swapped for their counterparts, with an exact test.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Examples: a file (.jsonl .csv .tsv .parquet), a URL, or the name of a data set (its test
    split). Labelled for --group; --swap needs no labels."""

    group: tuple[str, ...] = ()
    """Compare the groups that this column names. Several columns: each, and all crossed."""

    swap: tuple[str, ...] = ()
    """Swap words for their counterparts: pronouns, words (man, woman), names, gender (all three),
    in English and Chinese; or a file whose lines are words that stand for each other: he, she."""

    smallest: int = 20
    """Give no figures for a group of fewer rows, nor a rate of fewer: 20 is usual."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars. By default those of
    training."""

    seed: int = 0
    """Seed of the bootstrap and of the random groups."""

    out: Path | None = None
    """Write everything measured to this file, too: a page (.html), or .json."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, smallest=at_least(1), seed=at_least(0))
        if not self.group and not self.swap:
            raise UserError("give --group COLUMN, --swap LIST, or both")
        if not self.group:
            refuse_unused(self, ("smallest",), "group")
        if self.out is not None and self.out.suffix.lower() not in (".html", ".htm", ".json"):
            raise UserError(f"{self.out} must end in .html or .json")
        refuse_no_folder(self.out)


def run(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    options = parse(FairnessOptions, "fairness", arguments)
    from plainformer.explain.fairness import Fairness, load_list
    from plainformer.explain.fairness.page import write_report

    if options.out is not None:
        refuse_same_file(options.out, options.data)
    lists = [load_list(name) for name in dict.fromkeys(options.swap)]
    fairness = Fairness.load(options.run)
    source, columns, seed = options.data, options.columns, options.seed
    groups = []
    if options.group:
        groups = fairness.of_groups(source, options.group, options.smallest, columns, seed)
    swaps = fairness.of_swaps(source, lists, columns, seed) if lists else []
    for compared in groups:
        print_groups(compared)
    for swapped in swaps:
        print_swaps(swapped)
    if options.out is not None:
        write_report(options.out, options.run.name or options.run.resolve().name, groups, swaps)
        print(f"{options.out} is written")


def print_groups(report: "GroupReport") -> None:
    """Print the scores of the groups, and the largest differences."""
    from plainformer.explain.fairness.tables import (
        gap_table,
        group_sentences,
        largest_gaps,
        rate_table,
        score_table,
    )
    from plainformer.tables import print_table

    gaps = largest_gaps(report.compared)
    widest = dict.fromkeys(gap.label for gap in gaps if gap.label is not None)
    rates = [rate_table(report, label) for label in widest]
    for table in (score_table(report), gap_table(report, gaps), *rates):
        print(f"{table.title}\n")
        print_table(table)
        print()
    print("\n".join(group_sentences(report)) + "\n")


def print_swaps(report: "SwapReport") -> None:
    """Print which labels are answered more for which side, and some answers that flip."""
    from plainformer.explain.fairness.tables import direction_table, flips_found, words_found
    from plainformer.tables import print_table

    print(f"{report.name}: {words_found(report)}")
    for sides in report.pairs:
        print_table(direction_table(report, sides, sides.directions[:SHOWN_DIRECTIONS]))
        print(flips_found(sides))
        for flip in sides.examples[:SHOWN_FLIPS]:
            print(f"  {flip.source}")
            for text, answer in zip(flip.texts, flip.answers, strict=True):
                print(f"    {text} → {answer}")
        print()
