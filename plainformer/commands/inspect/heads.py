"""`plainformer inspect heads RUN --data F`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds, plural
from plainformer.commands.inspect.view import ViewOptions, refuse_no_picture


@dataclass(frozen=True, kw_only=True)
class HeadsOptions(ViewOptions):
    """Measure what the score loses without each head, with intervals."""

    name: Literal["heads"] = "heads"

    data: str
    """Labelled examples: a file, a URL, or the name of a data set (its test split)."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars. By default those of
    training."""

    limit: int = 500
    """Use at most this many examples, evenly spread over the file."""

    seed: int = 0
    """Seed of the resampling that gives the intervals."""

    out: Path | None = None
    """Write a picture to this file, too: a .png of layers and heads."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1), seed=at_least(0))
        refuse_no_picture(self.out)


def show(run: Path, options: HeadsOptions) -> None:
    """Print the heads, those first without which most is lost."""
    from plainformer.base.figures import save_png
    from plainformer.explain.inside.ablation import ablate_heads
    from plainformer.explain.inside.ablation_figure import ablation_figure
    from plainformer.explain.inside.opened import open_model
    from plainformer.finetune import Table
    from plainformer.finetune.data.examples import read_examples
    from plainformer.finetune.metrics.base import spoken
    from plainformer.tables import print_table

    predictor = open_model(run)
    task = predictor.task
    naming = task.naming(options.columns, task.columns)
    every = list(read_examples(type(task), options.data, "test", naming))
    found = ablate_heads(predictor, every[:: -(-len(every) // options.limit)], options.seed)
    numbers = (found.drop, found.low, found.high, found.loss_rise, found.importance)
    rows: list[list[str | float]] = [
        [f"{layer + 1}.{head + 1}", *(float(each[layer, head]) for each in numbers)]
        for layer, head in found.order
    ]
    columns = ("layer.head", f"drop of {found.metric}", "low", "high", "rise of loss", "importance")
    print_table(Table("heads", columns, rows))
    examples = plural(found.examples, "example")
    print(
        f"{found.metric} {spoken(found.score)} on {examples} with all heads; "
        f"importance and rise of loss agree by rank to {spoken(found.agreement)}"
    )
    if options.out is not None:
        save_png(ablation_figure(found), options.out)
        print(f"{options.out} is written")
