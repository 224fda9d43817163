"""`plainformer inspect map RUN --data F --out F.png`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.view import ViewOptions, refuse_no_picture


@dataclass(frozen=True, kw_only=True)
class MapOptions(ViewOptions):
    """Draw the vectors of texts in a plane, by PCA and by t-SNE, coloured by label."""

    name: Literal["map"] = "map"

    data: str
    """Labelled examples: a file with the columns of the task, or a set by name (its test split).
    A model of sentence vectors needs a column text, and takes colours from label."""

    out: Path
    """Write the picture to this file, .png, and the places beside it, as .tsv."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review. By default as in training."""

    limit: int = 2000
    """Draw this many of the texts, by chance."""

    seed: int = 0
    """Seed of what is drawn, and of t-SNE."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1), seed=at_least(0))
        refuse_no_picture(self.out)


def show(run: Path, options: MapOptions) -> None:
    """Write the map and the table of its places."""
    import numpy as np

    from plainformer.base import refuse_same_file
    from plainformer.base.figures import save_png
    from plainformer.explain.inside.figures import draw_map
    from plainformer.explain.inside.opened import open_model
    from plainformer.explain.inside.projection import project
    from plainformer.explain.inside.training import labelled_texts

    table = options.out.with_suffix(".tsv")
    refuse_same_file(table, options.data)
    predictor = open_model(run)
    shown = labelled_texts(predictor, options.data, "test", options.columns)
    drawn = np.random.default_rng(options.seed).permutation(len(shown))[: options.limit]
    found = project(predictor, [shown[i] for i in sorted(drawn)], options.seed, quiet=False)
    save_png(draw_map(found), options.out)
    found.write(table)
    first, second = found.explained
    print(
        f"{len(found.shown):,} texts; PCA shows {first + second:.1%} of the variance "
        f"({first:.1%} and {second:.1%})\n{options.out} and {table} are written"
    )
