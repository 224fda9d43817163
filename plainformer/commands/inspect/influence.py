"""`plainformer inspect influence RUN --text … | --file F`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.training import TrainingOptions
from plainformer.commands.inspect.view import TEXT, print_examples, shortened


@dataclass(frozen=True, kw_only=True)
class InfluenceOptions(TrainingOptions):
    """List the training examples that pulled a decision most, by the weights of the last layer."""

    name: Literal["influence"] = "influence"

    checkpoints: bool = False
    """Take the mean over the checkpoints of the run: what is well learned at its end pulls no more.
    By default the final weights alone."""

    count: int = 5
    """List this many that pulled towards each decision, and as many that pulled away."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        super().__post_init__()
        check_bounds(self, count=at_least(1))


def show(run: Path, options: InfluenceOptions) -> None:
    """Print the most influential training examples for each decision about each text."""
    from plainformer.explain.inside.influence import checkpoints_of, influences_on
    from plainformer.explain.inside.last_layer import check_last_layer
    from plainformer.explain.inside.neighbours import queries
    from plainformer.explain.inside.opened import open_model
    from plainformer.explain.inside.training import training_of
    from plainformer.finetune.prediction.inputs import Inputs

    inputs = Inputs(options.text, options.file).shared(options.columns, options.train)
    checkpoints = checkpoints_of(run) if options.checkpoints else ()
    predictor = open_model(run)
    task = predictor.task
    check_last_layer(task)
    examples = queries(predictor, inputs.first(task, options.limit))
    training = training_of(run, predictor, options.train, options.columns)
    found = influences_on(predictor, examples, training, checkpoints, quiet=False)
    for example, some in zip(examples, found, strict=True):
        print(shortened(example.preview, TEXT))
        for one in some:
            for towards in (True, False):
                print(f"  {'towards' if towards else 'away from'} {one.decision}:")
                strongest = one.strongest(options.count, towards)
                if not strongest:
                    print("      nothing")
                print_examples([(number, shown) for shown, number in strongest], "+10.3g")
        print("" if some else "  no decision: every word has the tag O\n")
