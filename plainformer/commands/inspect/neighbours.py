"""`plainformer inspect neighbours RUN --text … | --file F`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.training import TrainingOptions
from plainformer.commands.inspect.view import TEXT, print_examples, shortened


@dataclass(frozen=True, kw_only=True)
class NeighboursOptions(TrainingOptions):
    """List the training examples whose vectors are nearest to that of a text."""

    name: Literal["neighbours"] = "neighbours"

    count: int = 10
    """List this many for each text."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        super().__post_init__()
        check_bounds(self, count=at_least(1))


def show(run: Path, options: NeighboursOptions) -> None:
    """Print the nearest training examples of each text."""
    from plainformer.explain.inside.neighbours import neighbours_of, queries
    from plainformer.explain.inside.opened import open_model
    from plainformer.explain.inside.training import training_of
    from plainformer.finetune.prediction.inputs import Inputs

    inputs = Inputs(options.text, options.file).shared(options.columns, options.train)
    predictor = open_model(run)
    task = predictor.task
    examples = queries(predictor, inputs.first(task, options.limit))
    training = training_of(run, predictor, options.train, options.columns)
    found = neighbours_of(predictor, examples, training, options.count, quiet=False)
    for example, some in zip(examples, found, strict=True):
        print(f"{shortened(example.preview, TEXT)}\n    cosine  training example")
        print_examples([(near.cosine, near.shown) for near in some], "10.4f")
        print()
