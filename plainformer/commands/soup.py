"""`plainformer soup RUN RUN … --out DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class SoupOptions:
    """Average the weights of runs that began from the same pretrained model: a soup.

    It costs what one model costs, and is often better than each. Runs of different models can be
    given to `predict` and `evaluate` together, which average their predictions.
    """

    run: Positional[tuple[Path, ...]]
    """Folders of two or more runs of one task and the same labels; adapters are merged first."""

    out: Path
    """A new folder for the model, with tokenizer and labels."""

    data: str | None = None
    """Validation examples, a file or a named set: begin with the run of the best score on them, and
    add only runs with which it does not fall. By default all runs are averaged."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars. By default those of
    training."""


def run(arguments: Sequence[str]) -> None:
    """Average, and print the score of each run and of the soup."""
    options = parse(SoupOptions, "soup", arguments)
    from plainformer.deploy.card import soup_card
    from plainformer.finetune import Table, soup
    from plainformer.tables import print_table

    found = soup(options.run, options.out, options.data, options.columns)
    scores, examples = {}, None
    if found.metric is not None:
        scores, examples = found.metric.scores(), found.metric.count
    soup_card(options.out, found.used, options.data, scores, examples)
    if found.metric is not None:
        name, score = next(iter(found.metric.scores().items()))
        rows = [
            (str(folder), its, "yes" if folder in found.used else "no")
            for folder, its in found.scores.items()
        ]
        print_table(Table("soup", ("run", name, "in the soup"), [*rows, ("soup", score, "")]))
    print(f"the mean of {len(found.used)} of {len(options.run)} runs is in {options.out}")
