"""`plainformer check-labels RUN --out F`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import plural
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class CheckLabelsOptions:
    """Find labels that are probably wrong, by models that were not trained on them.

    The run is one of `finetune --folds 5`. Each doubtful label is a row with its file and line, the
    given and the suggested label, and the probabilities of both, the surest doubts first. For
    classification, multi-label, relation, prompt and tagging (word by word).
    """

    run: Positional[Path]
    """Folder of a run with folds."""

    out: Path
    """Write the doubtful labels to this .jsonl, .csv or .tsv file."""


def run(arguments: Sequence[str]) -> None:
    """Check the labels, write the doubtful ones, and count them."""
    options = parse(CheckLabelsOptions, "check-labels", arguments)
    from plainformer.finetune.labels import check_labels
    from plainformer.finetune.prediction.outputs import check_format
    from plainformer.tables import print_table

    check_format(options.out)
    found = check_labels(options.run, quiet=False)
    found.write(options.out)
    if found.rows:
        print_table(found.table())
    verb = "is" if len(found.rows) == 1 else "are"
    labels = plural(found.num_labels, "label")
    print(f"{len(found.rows):,} of {labels} {verb} doubtful: see {options.out}")
