"""`plainformer inspect attention RUN --text … | --file F`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import at_least, check_bounds, plural
from plainformer.commands.inspect.view import ViewOptions, refuse_no_page


@dataclass(frozen=True, kw_only=True)
class AttentionOptions(ViewOptions):
    """Show where each head attends in given texts: a summary of each head, and a page of all."""

    name: Literal["attention"] = "attention"

    text: tuple[str, ...] = ()
    """One or more texts."""

    file: str | None = None
    """File or URL of texts, one per line, or of rows with the columns of the task (.jsonl .csv .tsv
    .parquet); - is standard input."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review. By default as in training."""

    limit: int = 20
    """Read at most this many inputs of the file."""

    out: Path | None = None
    """Write an HTML page to this file, too: maps of all heads, and lines between the words."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, limit=at_least(1))
        refuse_no_page(self.out)


def show(run: Path, options: AttentionOptions) -> None:
    """Print the summary of each head."""
    from plainformer.base.progress import counting
    from plainformer.explain.inside.attention import (
        STATISTICS,
        SequenceAttention,
        attention_of_rows,
        head_statistics,
    )
    from plainformer.explain.inside.attention_page import refuse_large_page, write_attention_page
    from plainformer.explain.inside.opened import open_model
    from plainformer.finetune import Table
    from plainformer.finetune.prediction.inputs import Inputs
    from plainformer.tables import print_table

    inputs = Inputs(options.text, options.file, options.columns)
    predictor = open_model(run)
    task = predictor.task
    rows = inputs.first(task, options.limit)
    kept: list[SequenceAttention] = []
    cut = 0

    def found() -> Iterator[SequenceAttention]:
        nonlocal cut
        for one in attention_of_rows(predictor, rows):
            cut += one.is_cut
            if options.out is not None:
                kept.append(one)
                refuse_large_page(kept)
            yield one
            advance(1)

    with counting("attention") as advance:
        statistics = head_statistics(found()).permute(1, 2, 0).tolist()  # by layer and head
    lines = [
        [f"{layer}.{head}", *numbers]
        for layer, heads in enumerate(statistics, 1)
        for head, numbers in enumerate(heads, 1)
    ]
    print_table(Table("heads", ("layer.head", *STATISTICS), lines))
    if cut:
        print(f"{plural(cut, 'text was', 'texts were')} cut to {task.max_length} tokens")
    if options.out is not None:
        write_attention_page(options.out, run.name or run.resolve().name, kept)
        print(f"{options.out} is written")
