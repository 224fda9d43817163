"""`plainformer inspect neighbours RUN --text … | --file F`."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.view import TEXT, ViewOptions, print_examples, shortened


@dataclass(frozen=True, kw_only=True)
class NeighboursOptions(ViewOptions):
    """List the training examples whose vectors are nearest to that of a text."""

    name: Literal["neighbours"] = "neighbours"

    text: tuple[str, ...] = ()
    """One or more texts."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Read these columns of both files: --columns text=review. By default as in training. With
    --text, of the file of --train."""

    train: str | None = None
    """Search in this file or set instead of what the run was trained on."""

    count: int = 10
    """List this many for each text."""

    limit: int = 20
    """Read at most this many inputs of the file."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, count=at_least(1), limit=at_least(1))


def show(run: Path, options: NeighboursOptions) -> None:
    """Print the nearest training examples of each text."""
    from plainformer.explain.inside.neighbours import neighbours_of, queries
    from plainformer.explain.inside.opened import open_model
    from plainformer.explain.inside.training import training_of
    from plainformer.finetune.prediction.inputs import Inputs

    inputs = Inputs(options.text, options.file).shared(options.columns, options.train)
    predictor = open_model(run)
    task = predictor.task
    rows = (row for portion in inputs.portions(task) for row in portion)
    examples = queries(predictor, islice(rows, options.limit))
    training = training_of(run, predictor, options.train, options.columns)
    found = neighbours_of(predictor, examples, training, options.count, quiet=False)
    for example, some in zip(examples, found, strict=True):
        print(f"{shortened(example.preview, TEXT)}\n    cosine  training example")
        print_examples([(near.cosine, near.shown) for near in some], "10.4f")
        print()
