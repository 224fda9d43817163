"""`plainformer stress RUN --data F`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import (
    UserError,
    at_least,
    between,
    check_bounds,
    did_you_mean,
    refuse_no_folder,
    refuse_same_file,
    refuse_unused,
)
from plainformer.line import Positional
from plainformer.options import parse

KINDS = (
    *("typos", "lower", "upper", "dropped", "doubled", "no-punctuation", "punctuation"),
    *("homoglyphs", "full-width", "invisible", "homophones", "lookalikes", "sign-width"),
    *("distractor", "paraphrases", "hotflip"),
)
"""The kinds of change."""


@dataclass(frozen=True)
class StressOptions:
    """Measure a fine-tuned model on changed texts: typos, other letters, distractors, …

    Each kind of change is measured beside the same examples unchanged, with a 95 % interval of the
    drop (paired bootstrap) and the share of flipped answers. Tags, answers and labels follow.
    """

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Labelled examples: a file, a URL, or the name of a data set (its test split)."""

    kinds: tuple[str, ...] = ()
    """The kinds of change; by default all. typos: keys beside the right one, swapped, dropped,
    doubled letters; lower, upper: the case of the whole text; dropped, doubled: words;
    no-punctuation: none is left; punctuation: more of it; homoglyphs: a Cyrillic or Greek letter;
    full-width: Latin in full width; invisible: a character without width; homophones, lookalikes:
    Chinese characters that sound or look alike; sign-width: Chinese punctuation in the other width;
    distractor: a neutral sentence before or after; paraphrases: see there; hotflip: the words by
    which the loss grows most, found by its gradient."""

    strength: float = 0.2
    """Share of the words that are changed, at least one; lower, upper, no-punctuation and
    sign-width change all. 0: nothing, 0.1 to 0.3 are usual."""

    paraphrases: Path | None = None
    """File of words or phrases of one meaning on each line, separated by tabs or commas: the kind
    paraphrases puts one in the place of another."""

    group: str | None = None
    """Column of the file by whose values the examples are measured apart, too."""

    smallest: int = 20
    """A group of fewer examples is left out."""

    against: Path | None = None
    """Folder of another model of the same task, such as one with adversarial training (finetune
    --fgm 1): its drop stands beside, and how much of the drop it wins back."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars. By default those of
    training."""

    limit: int = 500
    """Measure at most this many examples, drawn at random."""

    seed: int = 0
    """Seed of the changes, of the sample and of the bootstrap."""

    out: Path | None = None
    """Write the table and the examples to this file, too: .html for a page, .json for numbers."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            strength=between(0, 1),
            smallest=at_least(1),
            limit=at_least(1),
            seed=at_least(0),
        )
        if self.group is None:
            refuse_unused(self, ("smallest",), "group")
        if self.out is not None and self.out.suffix.lower() not in (".html", ".htm", ".json"):
            raise UserError(f"{self.out} must end in .html for a page, or in .json")
        refuse_no_folder(self.out)
        for kind in self.kinds:
            if kind not in KINDS:
                hint = did_you_mean(kind, KINDS) or f": {', '.join(KINDS)}"
                raise UserError(f"there is no kind of change {kind!r}{hint}")
        if self.kinds and ("paraphrases" in self.kinds) != (self.paraphrases is not None):
            raise UserError("the kind paraphrases and a list, --paraphrases FILE, go together")

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the kinds of change, each once."""
        every = [k for k in KINDS if k != "paraphrases" or self.paraphrases is not None]
        return tuple(kind for kind in every if not self.kinds or kind in self.kinds)


def run(arguments: Sequence[str]) -> None:
    """Measure, and print a table and an example of each kind of change."""
    options = parse(StressOptions, "stress", arguments)
    if options.out is not None:
        refuse_same_file(options.out, options.data)
    from plainformer.explain.stress import Settings, stress
    from plainformer.tables import print_table

    found = stress(
        [options.run, *([options.against] if options.against is not None else [])],
        options.data,
        Settings(options.chosen, options.strength, options.seed, options.paraphrases),
        columns=options.columns,
        group=options.group,
        smallest=options.smallest,
        limit=options.limit,
    )
    for table in found.tables if found.effects else ():
        print(table.title)
        print_table(table)
        print()
    for one in found.shown:
        print(*one.lines(), sep="\n")
    print()
    print(found.about, *found.notes, sep="\n")
    if options.out is not None:
        found.write(options.out)
        print(f"{options.out} is written")
