"""`plainformer evaluate RUN --data F`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import UserError, find_folder, plural, replaced_folder
from plainformer.base.allocator import limit_kernel_cache
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a fine-tuned model on labelled examples, and leave a report."""

    run: Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Labelled examples: a file, a URL, or the name of a set (its test split)."""

    out: Path | None = None
    """Folder for the report: report.html, its pictures, metrics.json; by default `evaluation-` and
    the name of the data, in the folder of the model."""

    columns: tuple[str, ...] = ()
    """Map field names to the columns of this file: --columns text=review label=stars. By default as
    in training."""

    int8: bool = False
    """Round the matrices of the blocks to 8 bits first: what does that cost?"""


def run(arguments: Sequence[str]) -> None:
    """Measure, show the tables, and write the report."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    find_folder(options.run)  # before a report is begun in it
    data = Path(options.data.partition("?")[0])  # behind it stands what a web address asks for
    name = f"evaluation-{data.name}" + "-int8" * options.int8
    out = options.out or options.run / name
    if out.resolve() == options.run.resolve():
        raise UserError(f"{out} is no folder for a report: choose another --out")
    limit_kernel_cache()
    from plainformer.finetune import evaluate_folder
    from plainformer.finetune.report.page import write_report
    from plainformer.tables import report_table

    with replaced_folder(out, "evaluate") as folder:
        evaluation = evaluate_folder(
            options.run, options.data, int8=options.int8, columns=options.columns
        )
        # Before anything is printed: nobody may be reading.
        page = write_report(folder, evaluation, options.run, options.data)
    report_table(evaluation.metric)
    for warning in evaluation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if evaluation.num_cut:
        cut = plural(evaluation.num_cut, "text was", "texts were")
        print(f"{cut} cut to {evaluation.max_length} tokens")
    print(f"the report is {out / page.name}")
