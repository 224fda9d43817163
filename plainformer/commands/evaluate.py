"""`plainformer evaluate RUN --data F`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plainformer.base import Inference, find_folder, plural
from plainformer.base.allocator import limit_kernel_cache
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a fine-tuned model on labelled examples, and write a report."""

    run: Positional[tuple[Path, ...]]
    """Folder of the fine-tuned model, or folders of several, whose predictions are averaged."""

    data: str
    """Labelled examples: a file, a URL, or the name of a data set (its test split)."""

    out: Path | None = None
    """Folder for the report: report.html, its pictures, metrics.json; by default `evaluation-` and
    the name of the data, in the folder of the (first) model."""

    columns: tuple[str, ...] = ()
    """Read these columns of the file: --columns text=review label=stars. By default those of
    training."""

    inference: Inference = field(default_factory=Inference)


def run(arguments: Sequence[str]) -> None:
    """Evaluate, write the report, and print the tables."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    limit_kernel_cache()
    from plainformer.deploy.card import refresh_card
    from plainformer.finetune.report.write import evaluate_and_report
    from plainformer.tables import report_table
    from plainformer.training import is_main

    evaluation, page = evaluate_and_report(
        options.run, options.data, options.out, options.columns, options.inference
    )
    if not is_main():
        return
    if len(options.run) == 1:
        refresh_card(find_folder(options.run[0]))
    report_table(evaluation.metric)
    for warning in evaluation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if evaluation.num_cut:
        cut = plural(evaluation.num_cut, "text was", "texts were")
        print(f"{cut} cut to {evaluation.max_length} tokens")
    print(f"computed {evaluation.placement}; the report is {page}")
