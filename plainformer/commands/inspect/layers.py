"""`plainformer inspect layers RUN --data F`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds
from plainformer.commands.inspect.view import ViewOptions, refuse_no_picture


@dataclass(frozen=True, kw_only=True)
class LayersOptions(ViewOptions):
    """Measure what each layer knows of given labels, by linear probes beside a control task."""

    name: Literal["layers"] = "layers"

    data: str
    """File of texts with their labels (.jsonl .csv .tsv .parquet), or of words with their tags
    (these, or CoNLL's columns); or a set by name, of which it is the test split. A fourth of the
    texts is held out to measure on."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars."""

    limit: int = 5000
    """Read about this many labels, drawn by whole texts or sentences."""

    seed: int = 0
    """Seed of what is drawn and held out, of the control labels and of the intervals."""

    out: Path | None = None
    """Write a picture to this file, too: .png."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1), seed=at_least(0))
        refuse_no_picture(self.out)


def show(run: Path, options: LayersOptions) -> None:
    """Print what a probe finds in each layer."""
    from plainformer.base.figures import save_png
    from plainformer.base.progress import ProgressBar
    from plainformer.explain.inside.figures import draw_layers
    from plainformer.explain.inside.labelled import read_labelled
    from plainformer.explain.inside.opened import open_model
    from plainformer.explain.inside.probe import baseline, probe_layers
    from plainformer.explain.inside.states import hidden_states
    from plainformer.finetune import Table
    from plainformer.tables import print_table

    predictor = open_model(run)
    labelled = read_labelled(predictor, options.data, options.columns, options.limit, options.seed)
    states = hidden_states(predictor, labelled, options.seed, quiet=False)
    count = len(states.states)
    with ProgressBar("fitting probes", count) as bar:

        def watch(done: int) -> None:
            bar.update(done, f"{done} of {count} layers")

        layers = probe_layers(states, options.seed, watch)
    rows = [
        (
            str(layer.number),
            layer.accuracy,
            "{:.3f} – {:.3f}".format(*layer.accuracy_interval),
            layer.control,
            layer.selectivity,
            "{:.3f} – {:.3f}".format(*layer.selectivity_interval),
        )
        for layer in layers
    ]
    names = ("layer", "accuracy", "95 %", "control", "selectivity", "95 %")
    print_table(Table("layers", names, rows))
    held_out = int(states.held_out.sum())
    best = max(layers, key=lambda layer: layer.selectivity)
    print(
        f"learned from {len(states.labels) - held_out:,} labels, measured on {held_out:,}; "
        f"the most frequent label alone: {baseline(states):.3f}; most selective: layer "
        f"{best.number}"
    )
    if options.out is not None:
        save_png(draw_layers(layers, baseline(states)), options.out)
        print(f"{options.out} is written")
