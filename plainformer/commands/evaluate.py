"""`plainformer evaluate RUN --data F`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from cellar import write_json
from plainformer.options import parse


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a fine-tuned model on labelled examples."""

    run: tyro.conf.Positional[Path]
    """Folder of the fine-tuned model."""

    data: str
    """Labelled examples: a file, or the name of a set (its test split)."""

    out: Path | None = None
    """Also write the report as JSON here, and the confusion matrix as a PNG of the same name."""


def run(arguments: Sequence[str]) -> None:
    """Measure, and show the report."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    from finetune import evaluate_folder
    from plainformer.tables import report_table

    report = evaluate_folder(options.run, options.data)
    report_table(report)
    if options.out is not None:
        write_json(options.out, report.to_json())
        report.draw(options.out.with_suffix(".png"))
