"""A classifier's report, as tables for the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune import Report


def report_table(report: Report) -> None:
    """Print the scores of each label, the confusions, and the averages."""
    console = Console()
    scores = Table("label", box=None, header_style="bold")
    for name in ("precision", "recall", "f1", "texts"):
        scores.add_column(name, justify="right")
    for label, row in report.per_label.items():
        values = [f"{row[name]:.3f}" for name in ("precision", "recall", "f1")]
        scores.add_row(escape(label), *values, f"{row['support']:,}")
    console.print(scores)
    confusion = Table("true \\ predicted", box=None, header_style="bold")
    for label in report.labels:
        confusion.add_column(escape(label), justify="right")
    for label, counts in zip(report.labels, report.confusion.tolist(), strict=True):
        confusion.add_row(escape(label), *[f"{count:,}" for count in counts])
    console.print(confusion)
    console.print(f"accuracy {report.accuracy:.3f}, macro F1 {report.macro_f1:.3f}")
